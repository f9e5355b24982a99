"""The environment is made once, mended after a kill, renewed after a change; pip is a stand-in."""

import subprocess
import sys

import pytest

from naslora_core.errors import UserError
from naslora_workbook.publishing import environment

ROOT = environment.ROOT


@pytest.fixture
def checkout(tmp_path):
    """A folder with the three files that an installation depends on."""
    (tmp_path / ".ci").mkdir()
    for name in environment.SOURCES:
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def calls(monkeypatch, checkout):
    """Commands that would have run; `venv` makes an interpreter, `pip` obeys `calls.pip`."""

    class Calls(list):
        pip = staticmethod(lambda: 0)

    made = Calls()

    def run(command, **how):
        made.append(command)
        if "venv" in command:
            python = environment.venv_python(checkout)
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        code = made.pip() if "pip" in command else 0
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(environment.subprocess, "run", run)
    monkeypatch.delenv("TORCH", raising=False)
    return made


def test_the_first_start_installs(checkout, calls):
    environment.install(checkout)
    assert ["venv" in calls[0], "pip" in calls[1], len(calls)] == [True, True, 2]
    assert f"{checkout}[notebooks,test]" in calls[1]
    assert str(checkout / ".ci" / "constraints.txt") in calls[1]
    assert environment.is_complete(checkout)


def test_a_changed_pin_installs_into_the_same_environment(checkout, calls):
    environment.install(checkout)
    (checkout / ".ci" / "constraints.txt").write_text("other")
    assert not environment.is_complete(checkout)
    environment.install(checkout)
    assert ["pip" in c for c in calls] == [False, True, True]
    assert environment.is_complete(checkout)


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_a_killed_installation_begins_anew(checkout, calls, end):
    def killed():
        (checkout / ".venv" / "half-made").touch()
        raise end

    calls.pip = killed
    with pytest.raises(end):
        environment.install(checkout)
    assert not environment.is_complete(checkout)
    calls.pip = lambda: 0
    environment.install(checkout)
    assert not (checkout / ".venv" / "half-made").exists()
    assert environment.is_complete(checkout)


def test_where_pip_gives_up_its_work_is_kept_and_said(checkout, calls):
    calls.pip = lambda: 1
    with pytest.raises(UserError, match="stopped in pip"):
        environment.install(checkout)
    assert environment.venv_python(checkout).exists()
    assert not environment.stamp_of(checkout).exists()


def test_an_environment_of_yours_is_filled_not_removed(checkout, calls):
    python = environment.venv_python(checkout)
    python.parent.mkdir(parents=True)
    python.touch()
    (checkout / ".venv" / "yours").touch()
    environment.install(checkout)
    assert (checkout / ".venv" / "yours").exists()
    assert ["pip" in c for c in calls] == [True]


def test_torch_cpu_takes_the_cpu_builds(checkout, calls, monkeypatch):
    monkeypatch.setenv("TORCH", "cpu")
    environment.install(checkout)
    assert calls[1][-2:] == ["--extra-index-url", environment.CPU_INDEX]
    monkeypatch.setenv("TORCH", "rocm")
    with pytest.raises(UserError, match="TORCH=rocm"):
        environment.install(checkout)


def test_set_up_says_how_big_it_is_and_offers_the_cpu_build(checkout, calls, capsys, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    environment.install(checkout)
    said = capsys.readouterr().out
    assert "GB" in said.splitlines()[0]
    assert "TORCH=cpu" in said


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_is_told_in_one_sentence(version):
    with pytest.raises(UserError, match=r"needs 3\.11 to 3\.13") as error:
        environment._check_version(version)
    assert "\n" not in str(error.value)
    environment._check_version((3, 12))


def test_an_interpreter_that_has_the_package_is_used_as_it_is(checkout, monkeypatch):
    """Its own checkout does not count: a build leaves metadata there."""
    (checkout / "naslora_core.egg-info").mkdir()
    (checkout / "naslora_core.egg-info" / "PKG-INFO").write_text("Name: naslora-core\n")
    monkeypatch.setattr(sys, "path", [str(checkout)])
    assert not environment.is_ready(checkout)
    elsewhere = checkout / "site"
    (elsewhere / "naslora_core-0.1.0.dist-info").mkdir(parents=True)
    (elsewhere / "naslora_core-0.1.0.dist-info" / "METADATA").write_text("Name: naslora-core\n")
    monkeypatch.setattr(sys, "path", [str(checkout), str(elsewhere)])
    assert environment.is_ready(checkout)


def command(*words: str) -> subprocess.CompletedProcess:
    """The command line without site-packages, as a bare Python meets it."""
    bare = [sys.executable, "-S", "-m", "naslora_core", *words]
    return subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_needs_no_package():
    done = command("--help")
    assert done.returncode == 0
    assert "workbook" in done.stdout


def test_unknown_words_are_refused_in_one_line():
    done = command("clean", "--everything")
    assert done.returncode == 2
    assert "--everything" in done.stderr and "clean --help" in done.stderr
    assert done.stderr.count("\n") == 1


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, naslora_core; assert 'load_sam' in dir(naslora_core);"
        "heavy = {'torch', 'numpy', 'torchvision', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_public_name_is_where_the_front_door_says():
    import naslora_core

    for name in naslora_core._HOME:
        value = getattr(naslora_core, name)
        assert callable(value) or name.isupper(), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = naslora_core.nothing
