"""pyproject.toml, environment.yml, binder/ and the tested versions say the same."""

import asyncio
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CONDA = {"pytorch": "torch"}
BY_PIP = {
    "lightning-fabric",
    "sphinx-mathjax-offline",
}  # conda-forge has them not, or inside of lightning
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINE = re.compile(r"- ([a-z0-9-]+) (>=[0-9.]+)  # tested ([0-9.]+)")


def bounds(*extras: str) -> dict[str, str]:
    """Name -> lower bound of the runtime's and the extras' dependencies."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][e] for e in extras)]
    found = (re.match(r"([a-z0-9-]+)(>=[0-9.]+)$", d) for each in lists for d in each)
    return {m[1]: m[2] for m in found if m}


def pins() -> dict[str, str]:
    """Name -> tested version."""
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    found = [re.match(r"([A-Za-z0-9_.-]+)==([0-9a-z.]+)$", x) for x in lines if x[:1] != "#"]
    assert all(found), "every line of constraints.txt is name==version, without a local build"
    return {re.sub(r"[-_.]+", "-", m[1]).lower(): m[2] for m in found}


def test_environment_yml_has_the_same_lower_bounds_and_tested_versions():
    listed = LINE.findall((ROOT / "environment.yml").read_text())
    names = {CONDA.get(name, name): (bound, tested) for name, bound, tested in listed}
    wanted = bounds("lessons", "notebooks")
    assert {n: b for n, (b, _) in names.items()} == {k: wanted[k] for k in wanted.keys() - BY_PIP}
    assert {n: t for n, (_, t) in names.items()} == {n: pins()[n] for n in names}


def test_every_direct_dependency_is_pinned_above_its_bound():
    tested = pins()
    for name, bound in bounds("lessons", "notebooks", "coco", "export", "test").items():
        low, now = (tuple(map(int, v.strip(">=").split("."))) for v in (bound, tested[name]))
        assert now >= low, name


def test_the_environments_agree_on_python():
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python {PROJECT['requires-python']}" in conda
    binder = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text())["dependencies"]
    assert binder == ["python =3.12", "pip"]
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert ci["jobs"]["workbook"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]


def test_binder_installs_the_tested_cpu_versions():
    script = ROOT / "binder" / "postBuild"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert "-c .ci/constraints.txt" in text
    assert "https://download.pytorch.org/whl/cpu" in text
    assert '".[lessons]"' in text


def conda_lines(path: str) -> list[str]:
    """What an environment file asks of conda, without what it leaves to pip."""
    lines = yaml.safe_load((ROOT / path).read_text())["dependencies"]
    return [line for line in lines if isinstance(line, str)]


@pytest.mark.parametrize("path", ["environment.yml", "binder/environment.yml"])
def test_conda_reads_every_line(path):
    rattler = pytest.importorskip("rattler", reason="py-rattler is not installed")
    names = [rattler.MatchSpec(x, strict=True).name.normalized for x in conda_lines(path)]
    assert names == [re.match(r"[a-z0-9-]+", line)[0] for line in conda_lines(path)]


@pytest.mark.parametrize("path", ["environment.yml", "binder/environment.yml"])
def test_conda_finds_packages_that_agree(path):
    rattler = pytest.importorskip("rattler", reason="py-rattler is not installed")
    from rattler.exceptions import GatewayError

    specs = [rattler.MatchSpec(line, strict=True) for line in conda_lines(path)]
    where = {"platforms": [rattler.Platform("linux-64"), rattler.Platform("noarch")]}
    where |= {"virtual_packages": rattler.VirtualPackage.detect()}
    try:
        found = asyncio.run(rattler.solve(["conda-forge"], specs, **where))
    except GatewayError as error:
        pytest.skip(f"conda-forge cannot be reached: {str(error).splitlines()[0]}")
    assert {spec.name for spec in specs} <= {record.name for record in found}


def test_binder_builds_from_its_folder():
    """repo2docker's own plan: our Python, our postBuild, nothing of the root's environment.yml."""
    pytest.importorskip("repo2docker", reason="jupyter-repo2docker is not installed")
    words = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT.parent, check=True)
    plan = done.stdout + done.stderr
    assert "python=3.12" in plan and 'env update -p ${NB_PYTHON_PREFIX} --file "binder/' in plan
    assert "RUN ./binder/postBuild" in plan and "src/environment.yml" not in plan


def test_contributing_gives_a_reason_for_every_dependency():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for name in bounds("lessons", "notebooks", "coco", "export", "test"):
        assert name in text, name
    assert len(text.splitlines()) <= 50, "one screen"
