"""The experiments: which images they score, how runs are paired, what a registered one needs."""

import numpy as np
import pytest

from naslora_core.errors import UserError
from naslora_workbook.research import experiments
from naslora_workbook.research.experiment_arms import ARMS, EXPERIMENTS, REGISTERED
from naslora_workbook.research.experiment_choice import genotype, shuffled_genotype
from naslora_workbook.research.experiment_runs import contrast, iou, paired


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
    own = genotype("camouflage", 0)
    assert sorted(shuffled_genotype("camouflage", 0).chosen) == sorted(own) and "none" not in own
