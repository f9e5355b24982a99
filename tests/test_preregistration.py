"""The registered comparison: read or refused, test domains only when committed, judged in pairs."""

import json
import subprocess
from dataclasses import replace

import pytest
import torch
from own import call
from tiny import tiny_data

from naslora_core.adapters import DecoderOnly, adapt
from naslora_core.adapters.discretisation import ChosenLoRA
from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_workbook.lessons.profiles import profile
from naslora_workbook.publishing.registered_tables import (
    chosen,
    domains_table,
    minutes,
    registered_table,
    trained,
)
from naslora_workbook.research import preregistration as registry
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
    path = tmp_path / "protocol.yml"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return build_nano().eval().requires_grad_(False)


def git(path, *words):
    identity = "-c", "user.name=a", "-c", "user.email=a@b"
    subprocess.run(["git", "-C", str(path.parent), *identity, *words], check=True)


def commit(path):
    for words in (["init", "-q"], ["add", path.name], ["commit", "-q", "-m", "Register"]):
        git(path, *words)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("test: [vessel]", "test: [camouflage]", "share one"),
        ("test: [vessel]", "test: []", "are empty"),
        ("subject: lora", "subject: nas_lora", "judges 'nas_lora'"),
        ("seeds: [0, 1]", "seeds: [1, 1]", "listed once"),
        ("[decoder_only, lora]", "[decoder_only, lora, dora]", "Unknown method 'dora'"),
        ("draws: 200", "throws: 200", "expected the keys"),
        ("steps: 2,", "stairs: 2,", "expected the keys"),
        (TEXT, "nothing", "is no protocol"),
        (TEXT, "{", "is no protocol"),
    ],
)
def test_a_protocol_that_cannot_be_run_is_refused(file, old, new, told):
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(UserError, match=told):
        registry.read(file)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"none\.yml is no protocol.*expected the keys"):
        registry.read(tmp_path / "none.yml")


def test_test_domains_wait_for_a_commit_of_the_file_as_it_stands(file, sam, tmp_path):
    protocol = registry.read(file)

    def run(cells):
        registry.run(protocol, sam, "", cells, path=file, out=tmp_path / "out")

    for change in (None, lambda: (commit(file), file.write_text(TEXT + "# more\n"))):
        if change:
            change()
        with pytest.raises(UserError, match="not committed as it stands"):
            run([("camouflage", 0), ("vessel", 0)])
    assert not (tmp_path / "out").exists()
    file.write_text(TEXT)
    written = registry.committed(file)
    moved = file.parent / "moved.yml"
    git(file, "mv", file.name, moved.name)
    git(file, "commit", "-q", "-m", "Move")
    assert " of 2" in written and registry.committed(moved) == written


def test_cells_run_once_under_their_digest_and_are_judged(file, sam, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "open_data", lambda *_: tiny_data())
    protocol, out = registry.read(file), tmp_path / "out"
    cells = protocol.cells(["camouflage"])
    registry.run(protocol, sam, "a command", cells, path=file, out=out)
    records = registry.results(protocol, out)
    assert {r["protocol"] for r in records} == {protocol.digest} and len(records) == 2 * 2 + 1
    monkeypatch.setattr("naslora_workbook.research.compare.run", None)  # nothing may run again
    registry.run(protocol, sam, "a command", cells, path=file, out=out)
    file.write_text(TEXT + "# changed\n")
    with pytest.raises(UserError, match="a changed protocol starts an empty folder"):
        registry.results(registry.read(file), out)


def test_every_cell_is_compared_as_registered(file, sam, tmp_path, monkeypatch):
    opened, ran = [], []
    monkeypatch.setattr(registry, "open_data", lambda *given: opened.append(given) or given[0])
    monkeypatch.setattr(registry, "compare", lambda *given: ran.append(given))
    commit(file)
    protocol, cells = registry.read(file), [("camouflage", 1), ("vessel", 0)]
    registry.run(protocol, sam, "a command", cells, path=file, out=tmp_path / "out")
    rates, facts = registry._rates(protocol), {"protocol": protocol.digest}
    assert opened == [(n, profile("laptop")) for n in ("camouflage", "vessel")]
    assert rates.keys() >= set(protocol.methods) and protocol.setting == Setting(2, 2)
    out, setting, both = tmp_path / "out", protocol.setting, ("decoder_only", "lora")
    assert ran == [
        (sam, "camouflage", both, [1], out, setting, "a command", rates, facts, []),
        (sam, "vessel", both, [0], out, setting, "a command", rates, facts, []),
    ]


def test_a_method_that_was_tried_less_than_others_does_not_run(file, sam, tmp_path):
    file.write_text(TEXT.replace("0.01]", "0.01, 0.5]"))
    protocol = registry.read(file)
    with pytest.raises(UserError, match=r"expected 0\.0003 0\.003 0\.01 0\.5: every"):
        registry.run(protocol, sam, "", [("camouflage", 0)], path=file, out=tmp_path / "out")


def record(data, method, seed, iou):
    return {"data": data, "method": method, "seed": seed, "mean": {"iou": iou}}


def test_differences_pair_what_has_run_on_both_sides(file):
    protocol = registry.read(file)
    records = [record("camouflage", "lora", s, 0.5 + s / 10) for s in (0, 1)]
    records += [record("camouflage", "decoder_only", 1, 0.2), record("vessel", "lora", 0, 0.9)]
    found = differences(records, protocol, "decoder_only")
    assert found == {"camouflage": pytest.approx([0.4])}


def test_the_verdict_names_domains_and_keeps_test_domains_apart(file):
    protocol, records = registry.read(file), []
    for (name, seed), gain in zip(protocol.cells(), (0.1, 0.2, -0.2, -0.1), strict=True):
        records += [record(name, "lora", seed, 0.5 + gain), record(name, "decoder_only", seed, 0.5)]
    row = verdict(records, protocol)["decoder_only"]
    assert [round(row[n].mean, 6) for n in ("all", "test", "camouflage")] == [0, -0.15, 0.15]
    assert row["all"].zero and row["vessel"].high < 0
    lines = verdict_text(records, protocol).splitlines()
    assert lines[0] == "lora minus each rival, iou:" and len(lines) == 5
    assert goal(verdict(records, protocol)) == {}  # neither of its rivals took part
    turned = differences(records, protocol, "lora", subject="decoder_only")
    assert turned["vessel"] == pytest.approx([0.2, 0.1])
    assert verdict_text(records[1:], protocol).startswith("7 of 8 runs")


@pytest.mark.parametrize(
    ("apart", "holds"),
    [
        ((0.1, 0.1, 0.1), [True, True, True, True]),
        ((-0.1, 0.1, 0.1), [False, True, True, False]),
        ((0.0, 0.1, -0.1), [False, True, False, True]),
    ],
)
def test_the_goal_is_told_claim_by_claim(file, apart, holds):
    rivals = "lora", "conv_lora", "fixed_conv"
    protocol = replace(registry.read(file), methods=(*rivals, "nas_lora"), subject="nas_lora")
    records = []
    for name, seed in protocol.cells():
        records += [record(name, r, seed, 0.5 - d) for r, d in zip(rivals, apart, strict=True)]
        records += [record(name, "nas_lora", seed, 0.5)]
    table = verdict(records, protocol)
    assert list(goal(table).values()) == holds
    assert verdict_text(records, protocol).count("  yes  ") == sum(holds)
    assert behind(table["lora"]) == (["camouflage", "vessel"] if apart[0] < 0 else [])


def test_sizes_are_told_beside_the_decoder_and_after_choosing(sam):
    """The arithmetic of FixedConv: We and Wd of every block, and r r k k for an operator."""
    model = adapt(sam, ChosenLoRA(4, chosen=("conv_3x3",) * 6))
    genotype = {"operators": ["skip", "conv_3x3"], "blocks": [{"projection": "conv_3x3"}] * 6}
    whole = sum(p.numel() for p in model.trainable().values())
    rest = sum(p.numel() for p in adapt(sam, DecoderOnly()).trainable().values())
    kept = [
        {"data": "a", "seed": 0, "method": "decoder_only", "trained_parameters": rest},
        {"data": "a", "seed": 0, "method": "unet", "trained_parameters": 7, "training_seconds": 2},
        {"data": "a", "seed": 0, "method": "nas_lora", "trained_parameters": whole}
        | {"training_seconds": 4, "genotype": genotype, "adapter": {"name": "NASLoRA"}},
    ]
    assert trained(kept, "nas_lora") == chosen(kept, "nas_lora") == "16,224"
    assert (trained(kept, "unet"), chosen(kept, "unet")) == ("7", "")
    assert minutes(kept, "nas_lora").startswith("A U-Net's passes take 0.50")


def test_the_tables_wait_for_all_runs_and_count_domains_then(file):
    protocol, records = registry.read(file), []
    facts = {"command": "c", "device": "d", "date": "2026-01-01", "commit": "abc"}
    for i, (name, seed) in enumerate(protocol.cells()):
        for method, iou in (
            ("lora", 0.5 + (0.1 if name == "vessel" else 0)),
            ("decoder_only", 0.5),
        ):
            made = record(name, method, seed, iou)
            made |= {"protocol": protocol.digest, "provenance": facts}
            made["trained_parameters"] = {"lora": 1010, "decoder_only": 10}[method]
            records.append(made)
        if not i:
            assert registered_table(protocol, records).startswith("So far 2 of 8 runs")
            assert domains_table(protocol, records) == ""
    table = registered_table(protocol, records)
    assert (
        "| decoder-only | +0.050 (+0.000 to +0.100) | +0.100 (+0.100 to +0.100) | 1 | 0 |" in table
    )
    by_domain = domains_table(protocol, records)
    assert "| LoRA | 1,000 |  | 0.500 | 0.600 | 0.550 |" in by_domain
    assert "95% intervals" in table and "`abc`" in table


def test_what_is_registered_is_whole():
    """Lesson 12 and the README judge all runs or none."""
    protocol, records = registered()
    ran = [r for r in records if r["method"] in protocol.methods]
    assert len(ran) == len(protocol.cells()) * len(protocol.methods)


def test_unknown_domains_and_missing_images_are_told(file):
    with pytest.raises(UserError, match="no domain 'mars'; choose one of camouflage, vessel"):
        registry.read(file).cells(["mars"])
    with pytest.raises(UserError, match="set NASLORA_DATA"):
        registry.located("mars")


@pytest.mark.parametrize(
    ("words", "cells"),
    [
        ((), [("camouflage", 0), ("camouflage", 1), ("vessel", 0), ("vessel", 1)]),
        (("--only", "vessel"), [("vessel", 0), ("vessel", 1)]),
        (("--seeds", 1), [("camouflage", 1), ("vessel", 1)]),
        (("--seeds", 1, "--only", "vessel"), [("vessel", 1)]),
    ],
)
def test_the_command_runs_the_cells_that_are_asked_for(file, monkeypatch, words, cells):
    ran, as_it_is = [], registry.read(file)
    monkeypatch.setattr(registry, "read", lambda: as_it_is)
    monkeypatch.setattr(registry, "run", lambda *given: ran.append(given[3:]))
    monkeypatch.setattr(registry, "results", lambda _: [])
    call("protocol", *words)
    assert ran == [(cells,)]
    call("protocol", *words, "--verdict")
    assert len(ran) == 1


def test_the_command_tells_a_seed_that_is_not_registered():
    with pytest.raises(UserError, match="no seed 9; choose one of 0, 1, 2, 3, 4"):
        call("protocol", "--seeds", 9)


def test_real_images_are_found_where_they_are_said_to_be(tmp_path, monkeypatch):
    (tmp_path / "mars").mkdir()
    monkeypatch.setenv("NASLORA_DATA", str(tmp_path))
    assert registry.located("mars") == str(tmp_path / "mars")
    assert registry.located("vessel") == "vessel"


def test_line_endings_of_a_checkout_do_not_change_the_digest(file):
    digest = registry.read(file).digest
    file.write_bytes(TEXT.replace("\n", "\r\n").encode())
    assert registry.read(file).digest == digest
    file.write_text(TEXT.replace("draws: 200", "draws: 201"))
    assert registry.read(file).digest != digest


def test_where_there_is_no_git_nobody_knows_whether_it_is_committed(file, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="There is no git here"):
        registry.committed(file)


def test_records_are_read_as_json(file, tmp_path):
    protocol = registry.read(file)
    made = record("camouflage", "lora", 0, 0.5) | {"protocol": protocol.digest}
    (tmp_path / "one.json").write_text(json.dumps(made))
    assert registry.results(protocol, tmp_path) == [made]
