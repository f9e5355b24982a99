"""The experiments: which images they score, how runs are paired, what a registered one needs."""

import json

import numpy as np
import pytest

from naslora_core.errors import UserError
from naslora_workbook.research import experiments
from naslora_workbook.research.experiment_arms import ARMS, EXPERIMENTS, REGISTERED
from naslora_workbook.research.experiment_methods import own_genotype, shuffled_genotype
from naslora_workbook.research.experiment_runs import contrast, experiment, iou, paired, table
from naslora_workbook.results.records import keep, recorded


def test_only_the_registered_experiment_scores_test_images():
    for name, parts in EXPERIMENTS.items():
        splits = {ARMS[arm].split for _, arms, _ in parts for arm in arms}
        assert splits == ({"test"} if name == REGISTERED else {"val"}), name
    assert "leaf" not in {domain for domain, *_ in EXPERIMENTS[REGISTERED]}


def test_the_registered_experiment_waits_for_its_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    (tmp_path / f"{REGISTERED}.yml").write_text("arms: []\n")
    with pytest.raises(UserError, match="not committed"):
        experiments.run_all(REGISTERED, tmp_path, "1/1", "", [])


def run(arm, seed, each):
    return {"domain": "leaf", "arm": arm, "seed": seed, "iou": np.mean(each), "each": each}


def test_differences_are_paired_by_seed_and_image():
    runs = [run("a", 1, [0.5, 0.9]), run("a", 0, [0.4, 0.8]), run("b", 0, [0.1, 0.3])]
    assert np.allclose(paired(runs, "leaf", "a", "b"), [[0.3, 0.5]])
    assert iou(runs, "leaf", "a") == [pytest.approx(0.6), pytest.approx(0.7)]
    found = contrast(runs, "leaf", "a", "b")
    assert found.mean == pytest.approx(0.4) and found.words == "better"
    assert contrast(runs, "leaf", "b", "a").words == "worse"


def test_a_shuffled_genotype_has_the_same_operators():
    own = own_genotype("camouflage", 0).chosen
    assert sorted(shuffled_genotype("camouflage", 0).chosen) == sorted(own) and "none" not in own


def test_fresh_runs_are_packed_beside_those_that_are_recorded(tmp_path, monkeypatch):
    made = {"device": "d", "date": "2026-01-01", "commit": "c", "command": "run volume"}
    fresh = run("a", 0, [0.5]) | {"provenance": made}
    (tmp_path / "runs" / "volume").mkdir(parents=True)
    (tmp_path / "runs" / "volume" / "leaf-a-0.json").write_text(json.dumps(fresh))
    monkeypatch.setattr(experiments, "keep", lambda *given: keep(*given, tmp_path))
    experiments.pack("volume", tmp_path / "runs")
    packed = recorded("experiments/volume", tmp_path)
    assert len(packed) == len(recorded("experiments/volume")) + 1 and fresh in packed


def test_the_tables_of_an_experiment_have_a_row_an_arm_and_a_difference():
    said = table("volume", experiment("volume"))
    assert "| camouflage | lora | 3 |" in said and "| searched - lora | camouflage | 3 |" in said
