"""The experiments: which images they score, how runs are paired, what a registered one needs."""

import json

import numpy as np
import pytest

from naslora_core.errors import UserError
from naslora_workbook.research import experiment_mixed_teacher, experiments, neighbours
from naslora_workbook.research.experiment_arms import ARMS, EXPERIMENTS, REGISTERED
from naslora_workbook.research.experiment_methods import own_genotype, shuffled_genotype
from naslora_workbook.research.experiment_runs import (
    chosen_elsewhere,
    contrast,
    experiment,
    iou,
    paired,
    table,
)
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


def test_an_arm_is_chosen_without_the_seed_that_it_is_scored_on():
    means = {"a": (0.9, 0.1, 0.1), "b": (0.2, 0.4, 0.3), "frozen": (0, 0, 0)}
    runs = [run(arm, seed, [v, v]) for arm, of in means.items() for seed, v in enumerate(of)]
    found = chosen_elsewhere(runs, "leaf", ["a", "b"], "frozen")
    assert np.allclose(found, [[0.2, 0.2], [0.1, 0.1], [0.1, 0.1]])  # b, then a for its seed 0


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


def test_an_object_of_neighbours_differs_in_the_order_of_its_tokens_alone():
    found = {True: [], False: []}
    for seed in range(40):
        image, mask = neighbours.draw(np.random.default_rng(seed), 128)
        light, inside = (x[4::8, 4::8] > level for x, level in ((image[..., 0], 128), (mask, 0)))
        assert (np.kron(inside, np.ones((8, 8))) == mask).all()
        for within in (True, False):
            pair = (inside[:, 1:] == within) & (inside[:, :-1] == within)
            differ = (light[:, 1:] != light[:, :-1])[pair]
            found[within].append((light[inside == within].mean(), differ.mean()))
    means = {within: np.mean(rows, 0) for within, rows in found.items()}  # .82: 1 - 2 (.1) (.9)
    assert abs(means[True][0] - 0.5) < 0.03 and abs(means[False][0] - 0.5) < 0.03
    assert (
        abs(means[False][1] - 0.5) < 0.03 and abs(means[True][1] - 0.82) < 0.03
    )  # 1 - 2 (.1) (.9)


def test_a_shuffled_genotype_leaves_no_block_its_operator():
    names = experiment_mixed_teacher.OPERATORS
    for seed in range(20):
        other = experiment_mixed_teacher.shuffled(names, np.random.default_rng(seed))
        assert sorted(other) == sorted(names)
        assert all(a != b for a, b in zip(names, other, strict=True))
