"""What is packed is read back as it was, each part alone, and what is recorded is all there."""

import json

import numpy as np
import pytest

from naslora_core.errors import UserError
from naslora_workbook.research import preregistration as registry
from naslora_workbook.results.records import (
    RESULTS,
    experiments,
    keep,
    pack,
    recorded,
    runs,
)

MACHINE = {"device": "a card", "date": "2026-01-02", "commit": "abc", "command": "compare"}


def run(seed=0, scores=(0.1234, 1.0), **facts):
    images = {f"image {i}": [score, score / 2] for i, score in enumerate(scores)}
    return {"data": "polyp", "seed": seed, "images": images, "provenance": MACHINE | facts}


def test_runs_come_back_as_they_were_packed(tmp_path):
    some, other = [run(0), run(1, commit="abd"), run(2, (0.3,))], [run(5)]
    keep("methods", some, tmp_path)
    keep("planted/cell", other, tmp_path)
    assert recorded("methods", tmp_path) == some and recorded("planted/cell", tmp_path) == other
    assert experiments(tmp_path) == ["methods", "planted/cell"]
    lines = (tmp_path / "provenance.jsonl").read_text().splitlines()
    assert [json.loads(line)["commit"] for line in lines] == ["abc", "abd"]
    before = (tmp_path / "scores.npz").read_bytes()
    keep("methods", some, tmp_path)
    assert (tmp_path / "scores.npz").read_bytes() == before  # equal content, equal bytes


def test_a_part_is_replaced_or_added_to_without_the_others(tmp_path):
    keep("planted/cell", [run(0)], tmp_path)
    keep("planted/sam_nano", [run(1)], tmp_path)
    keep("planted/cell", [run(2, commit="later")], tmp_path)
    keep("planted/sam_nano", [run(3)], tmp_path, add=True)
    assert recorded("planted/cell", tmp_path) == [run(2, commit="later")]
    assert recorded("planted/sam_nano", tmp_path) == [run(1), run(3)]


def test_a_folder_of_a_grid_is_read_and_packed_in_order_of_its_files(tmp_path):
    grid = tmp_path / "grid"
    grid.mkdir()
    for seed, name in ((1, "b"), (0, "a")):
        (grid / f"{name}.json").write_text(json.dumps(run(seed)))
    assert runs(grid) == [run(0), run(1)]
    assert pack(grid, "methods", folder=tmp_path) == 2
    assert recorded("methods", tmp_path) == runs(grid) == runs("methods", tmp_path)
    assert pack(grid / "a.json", "measurements/bench", folder=tmp_path) == 1
    assert recorded("measurements/bench", tmp_path) == [run(0)]


@pytest.mark.parametrize("call", [lambda f: recorded("none", f), lambda f: pack(f / "none", "a")])
def test_what_is_not_there_is_named(tmp_path, call):
    with pytest.raises(UserError, match="none"):
        call(tmp_path)


def test_every_score_of_a_recorded_run_makes_its_mean():
    for name in ("methods", "kvasir_polyp", "registered/protocol", "registered/protocol_3"):
        for record in recorded(name):
            dice, iou = np.mean(list(record["images"].values()), 0)
            assert record["mean"] == pytest.approx({"dice": dice, "iou": iou}, abs=1e-4)


def test_the_results_stay_few_files():
    files = [p for p in RESULTS.iterdir() if p.suffix in (".jsonl", ".json", ".npz", ".yml")]
    assert len(files) <= 20 and sum(p.stat().st_size for p in files) <= 2_000_000


def test_no_test_domain_was_used_for_a_choice():
    """Tiles and the third registration ran on test domains later, by protocols of their own."""
    protocol, asked = registry.registered(registry.FIRST)
    later = protocol.part, registry.read().part, "experiments/tiles"
    others = [recorded(n) for n in experiments() if n not in later]
    scored = [r for records in others for r in records if "split" in r.get("setting", {})]
    assert {r["data"] for r in asked} == set(protocol.domains)
    tested = {r["data"] for r in scored if r["setting"]["split"] == "test"}
    chosen_on = {r["data"] for r in scored if r["setting"]["split"] == "val"}
    assert not (tested | chosen_on) & set(protocol.test)
