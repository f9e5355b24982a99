"""The registered comparison: committed as it stands, whole, judged in pairs."""

import json
import subprocess
from dataclasses import replace
from itertools import product

import pytest
from tiny import tiny_data, tiny_sam

from naslora_core.errors import UserError
from naslora_workbook.research import preregistration as registry
from naslora_workbook.research.bootstrap import nested
from naslora_workbook.research.compare import Setting
from naslora_workbook.research.preregistration import (
    behind,
    differences,
    goal,
    registered,
    verdict,
    verdict_text,
)

TEXT = """
development: [camouflage]
test: [vessel]
methods: [decoder_only, lora]
subject: lora
seeds: [0, 1]
setting: {steps: 2, batch: 2, split: test}
rates: [learning_rates]
trials: [0.0003, 0.003, 0.01]
metric: iou
level: 0.95
draws: 200
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "asked.yml"
    path.write_text(TEXT)
    return path


def git(path, *words):
    identity = "-c", "user.name=a", "-c", "user.email=a@b"
    subprocess.run(["git", "-C", str(path.parent), *identity, *words], check=True)


def test_the_commit_of_a_file_is_that_of_its_content_as_it_stands(file):
    with pytest.raises(UserError, match="not committed as it stands"):
        registry.committed(file)
    for words in (["init", "-q"], ["add", file.name], ["commit", "-q", "-m", "Register"]):
        git(file, *words)
    written = registry.committed(file)
    moved = file.parent / "moved.yml"
    git(file, "mv", file.name, moved.name)
    git(file, "commit", "-q", "-m", "Move")
    assert " of 2" in written and registry.committed(moved) == written
    moved.write_text(TEXT + "# more\n")
    with pytest.raises(UserError, match="not committed as it stands"):
        registry.committed(moved)


def test_where_there_is_no_git_nobody_knows_whether_it_is_committed(file, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="There is no git here"):
        registry.committed(file)


def test_line_endings_of_a_checkout_do_not_change_the_digest(file):
    protocol = registry.read(file)
    assert protocol.setting == Setting(2, 2) and protocol.domains == ("camouflage", "vessel")
    file.write_bytes(TEXT.replace("\n", "\r\n").encode())
    assert registry.read(file).digest == protocol.digest
    file.write_text(TEXT.replace("draws: 200", "draws: 201"))
    assert registry.read(file).digest != protocol.digest


def test_what_is_registered_is_whole_and_of_one_protocol(file):
    """Lesson 12 and the README judge all runs or none."""
    protocol, records = registered()
    ran = [(r["data"], r["method"], r["seed"]) for r in records]
    wanted = set(product(protocol.domains, protocol.methods, protocol.seeds))
    assert len(ran) == len(set(ran)) and wanted <= set(ran)
    with pytest.raises(UserError, match="was made under protocol"):
        registered(file.rename(file.with_name(registry.FILE.name)))  # that name, another content


def test_only_a_committed_protocol_runs_and_its_runs_carry_its_digest(
    quick_ceiling, file, tmp_path, monkeypatch
):
    out = tmp_path / "runs"
    with pytest.raises(UserError, match="not committed as it stands"):
        registry.run(file, out, tmp_path)
    monkeypatch.setattr(registry, "committed", lambda path: "a commit")
    monkeypatch.setattr(registry, "load_sam", tiny_sam)
    monkeypatch.setattr(registry, "open_data", lambda name, _: replace(tiny_data(), name=name))
    monkeypatch.setattr(registry, "best_rates", lambda *_: {"lora": 1e-3, "decoder_only": 3e-3})
    registry.run(file, out, tmp_path, share="2/2")  # all seeds of vessel
    runs = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    trained = [(r["data"], r["method"], r["seed"]) for r in runs if r["method"] != "base_boxed"]
    assert trained == list(product(["vessel"], ["decoder_only", "lora"], [0, 1]))
    assert {r["protocol"] for r in runs} == {registry.read(file).digest}
    registry.run(file, out, tmp_path, until="00:00")
    assert len(list(out.glob("*.json"))) == len(runs)  # none was begun
    packed = {}
    monkeypatch.setattr(registry, "keep", packed.__setitem__)
    assert registry.pack(file, out) == len(runs) and packed == {f"registered/{file.stem}": runs}
    monkeypatch.setattr(registry, "experiments", lambda: [f"registered/{file.stem}"])
    monkeypatch.setattr(registry, "recorded", lambda part: runs)
    registry.run(file, tmp_path / "elsewhere", tmp_path, until="00:00")  # what is recorded is there
    kept = [json.loads(path.read_text()) for path in sorted((tmp_path / "elsewhere").iterdir())]
    assert kept == runs


def record(data, method, seed, iou):
    return {"data": data, "method": method, "seed": seed, "mean": {"iou": iou}}


def test_the_verdict_names_domains_and_keeps_test_domains_apart(file):
    protocol, records = registry.read(file), []
    cells = product(protocol.domains, protocol.seeds)
    for (name, seed), gain in zip(cells, (0.1, 0.2, -0.2, -0.1), strict=True):
        records += [record(name, "lora", seed, 0.5 + gain), record(name, "decoder_only", seed, 0.5)]
    row = verdict(records, protocol)["decoder_only"]
    assert [round(row[n].mean, 6) for n in ("all", "test", "camouflage")] == [0, -0.15, 0.15]
    assert row["all"].zero and row["vessel"].high < 0
    lines = verdict_text(records, protocol).splitlines()
    assert lines[0] == "lora minus each rival, iou:" and len(lines) == 5
    assert goal(verdict(records, protocol)) == {}  # none of its rivals took part
    turned = differences(records, protocol, "lora", subject="decoder_only")
    assert turned["vessel"] == pytest.approx([0.2, 0.1])
    three = replace(protocol, methods=("decoder_only", "lora", "full"))
    more = [record(r["data"], "full", r["seed"], r["mean"]["iou"]) for r in records]
    found = registry.against([*records, *more[::2]], three, "decoder_only")
    assert list(found) == ["lora", "full"]
    assert found["lora"] == nested(differences(records, protocol, "decoder_only"), 0.975, 200)


@pytest.mark.parametrize(
    ("name", "apart", "holds"),
    [
        ("protocol", (0.1, 0.1, 0.1, 0), [True, True, True, True]),
        ("protocol", (-0.1, 0.1, 0.1, 0), [False, True, True, False]),
        ("protocol", (0.0, 0.1, -0.1, 0), [False, True, False, True]),
        ("protocol_3", (0.1, -0.1, 0, 0.1), [True, False, True]),
        ("protocol_3", (0.0, 0.1, 0, -0.1), [False, True, False]),
    ],
)
def test_the_goal_is_told_claim_by_claim(file, name, apart, holds):
    rivals = "lora", "conv_lora", "fixed_conv", "fixed_5x5"
    took_part = {"methods": (*rivals, "nas_lora"), "subject": "nas_lora", "name": name}
    protocol, records = replace(registry.read(file), **took_part), []
    for data, seed in product(protocol.domains, protocol.seeds):
        records += [record(data, r, seed, 0.5 - d) for r, d in zip(rivals, apart, strict=True)]
        records += [record(data, "nas_lora", seed, 0.5)]
    table = verdict(records, protocol)
    assert list(goal(table, name).values()) == holds
    assert verdict_text(records, protocol).count("  yes  ") == sum(holds)
    assert behind(table["lora"]) == (["camouflage", "vessel"] if apart[0] < 0 else [])
