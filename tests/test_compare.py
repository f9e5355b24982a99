"""A grid of runs: one file a run, existing ones kept, differences paired by seed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny import tiny_data, tiny_sam

from naslora_core.adapters import LoRA
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter, build_nano, model_hash
from naslora_core.training.ceilings import mask_side, shrunk_iou
from naslora_core.training.evaluation import evaluate
from naslora_workbook.research.compare import UNPROMPTED, Setting, compare, paired
from naslora_workbook.research.learning_rate_selection import best_rates
from naslora_workbook.research.methods import METHODS

SETTING = Setting(steps=4, batch=2)
pytestmark = pytest.mark.usefixtures("quick_ceiling")


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


def test_runs_are_recorded_once_and_read_afterwards(sam, tmp_path, monkeypatch):
    methods, seeds = ["decoder_only", "nas_lora"], [0, 1]
    first = compare(sam, tiny_data(), methods, seeds, tmp_path, SETTING, "a command")
    assert len(list(tmp_path.glob("*.json"))) == 5  # the boxed base, two methods, two seeds
    monkeypatch.setattr("naslora_workbook.research.compare.run", None)  # nothing may run again
    assert compare(sam, tiny_data(), methods, seeds, tmp_path, SETTING, "a command") == first


def test_a_record_holds_what_a_reader_needs(sam, tmp_path):
    compare(sam, tiny_data(), ["nas_lora"], [0], tmp_path, SETTING, "a command")
    record = json.loads((tmp_path / "squares-test-nas_lora-0.002-0.json").read_text())
    assert len(record["images"]) == 4 and record["genotype"]["schema"] == 2
    assert record["mean"]["dice"] == pytest.approx(
        sum(d for d, _ in record["images"].values()) / 4, abs=1e-3
    )
    assert record["provenance"]["command"] == "a command" and 0 < record["ceiling_iou"] <= 1


def test_the_base_without_a_prompt_is_scored_and_not_trained(sam, tmp_path):
    data, rates = tiny_data(), {"lora": 1e-3}  # it needs no rate
    _, record = compare(sam, data, [UNPROMPTED], [0], tmp_path, SETTING, "a command", rates)
    assert record["mean"]["dice"] == round(evaluate(Segmenter(sam), data.test).mean["dice"], 4)
    assert "training_seconds" not in record


def test_a_record_of_another_setting_is_not_taken_for_this_one(sam, tmp_path):
    compare(sam, tiny_data(), ["decoder_only"], [0], tmp_path, SETTING, "")
    with pytest.raises(UserError, match="'steps': 4.*'steps': 5.*another folder"):
        compare(sam, tiny_data(), ["decoder_only"], [0], tmp_path, Setting(steps=5, batch=2), "")


def test_a_record_of_other_images_is_not_taken_for_these(sam, tmp_path):
    """Two folders may have one name."""
    compare(sam, tiny_data(), ["decoder_only"], [0], tmp_path, SETTING, "")
    other = tiny_data()
    other = replace(other, test=[replace(s, name=f"other_{s.name}") for s in other.test])
    with pytest.raises(UserError, match=r"other images.*first test0, here other_test0.*another f"):
        compare(sam, other, ["decoder_only"], [0], tmp_path, SETTING, "")


def test_a_record_on_another_base_is_not_taken_for_one_on_this(sam, tmp_path):
    compare(sam, tiny_data(), ["decoder_only"], [0], tmp_path, SETTING, "")
    record = json.loads((tmp_path / "squares-test-decoder_only-0.002-0.json").read_text())
    assert record["base"] == f"sam_nano {model_hash(sam)[:12]}"
    with pytest.raises(UserError, match=r"made on sam_nano \w{12}, this run is on sam_nano \w{12}"):
        compare(tiny_sam(seed=1), tiny_data(), ["lora"], [0], tmp_path, SETTING, "")
    path = tmp_path / "squares-test-base_boxed-0.json"
    nameless = {k: v for k, v in json.loads(path.read_text()).items() if k != "base"}
    path.write_text(json.dumps(nameless))
    with pytest.raises(UserError, match="made on an unnamed base"):
        compare(sam, tiny_data(), [], [], tmp_path, SETTING, "")


def test_the_ceiling_is_that_of_the_bases_own_masks(tmp_path):
    large = build_nano().eval()
    assert mask_side(large) == 64
    compare(large, tiny_data(), [], [], tmp_path, SETTING, "")
    record = json.loads((tmp_path / "squares-test-base_boxed-0.json").read_text())
    assert record["ceiling_iou"] == pytest.approx(
        np.mean([shrunk_iou(s.mask == 1, 64) for s in tiny_data().test]), abs=1e-4
    )


def test_a_record_of_another_adapter_is_not_taken_for_this_one(sam, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "lora", LoRA(rank=2, blocks=(1,)))
    compare(sam, tiny_data(), ["lora"], [0], tmp_path, SETTING, "")
    monkeypatch.setitem(METHODS, "lora", LoRA(rank=3, blocks=(1,)))
    with pytest.raises(UserError, match="'rank': 2.*'rank': 3"):
        compare(sam, tiny_data(), ["lora"], [0], tmp_path, SETTING, "")


def test_rates_that_are_not_there_are_no_default(sam, tmp_path):
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match=str(folder)):
            best_rates(folder)
    with pytest.raises(UserError, match="lora has no trial among the rates, which are of nas_lora"):
        compare(sam, tiny_data(), ["lora"], [0], tmp_path, SETTING, "", {"nas_lora": 1e-3})
    assert not list(tmp_path.iterdir())


def test_rates_by_method_go_before_the_setting(sam, tmp_path):
    rates = {"decoder_only": 1e-4}
    found = compare(sam, tiny_data(), ["decoder_only"], [0], tmp_path, SETTING, "", rates)
    assert found[1]["setting"]["lr"] == 1e-4


def test_differences_are_paired_by_seed():
    def row(method, seed, dice):
        return {"method": method, "seed": seed, "mean": {"dice": dice}}

    records = [row("a", 1, 0.5), row("a", 0, 0.4), row("b", 0, 0.1), row("b", 1, 0.3)]
    assert paired(records, "a", "b").tolist() == pytest.approx([0.3, 0.2])


def test_an_unknown_method_names_the_choices(sam, tmp_path):
    with pytest.raises(UserError, match="'lorra'.*decoder_only, .*lora, .*unet"):
        compare(sam, tiny_data(), ["lorra"], [0], tmp_path, SETTING, "")
    assert not list(tmp_path.iterdir())
