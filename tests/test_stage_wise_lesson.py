"""Lesson 09: its figures say what was found, its checks name what is wrong, its suspects differ."""

import math

import numpy as np
import pytest

from naslora_core.search.schedule import bilevel, joint, stage_wise
from naslora_workbook.figures.stages import heard, is_free, rivals, timeline, verdicts
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_09 import (
    STAGES,
    reference_alarm,
    steadiness,
    suspects,
    walked,
)

LEAKS = {"A": "too late", "B": "honest", "C": "left out", "D": "too early"}


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def softmax(alpha):
    p = np.exp(alpha)
    return p / p.sum(-1, keepdims=True)


def fewest(p, alpha_lr, n):
    apart = math.log((n - 1) * p / (1 - p))
    return max(0, math.floor(apart / (2 * alpha_lr)) + 1)


def test_the_fewest_steps_are_those_that_adam_walks():
    assert checks.ex_9_1(fewest).state == checks.SOLVED
    assert walked(0.1, 0.02, 9) == 0 and walked(0.5, 0.1, 9) == 11
    rounded = checks.ex_9_1(lambda p, lr, n: fewest(p, lr, n) - 1)
    assert rounded.state == checks.WRONG and "2 t lr apart" in rounded.sentence
    below = checks.ex_9_1(lambda p, lr, n: max(1, fewest(p, lr, n)))
    assert below.state == checks.WRONG and "Target 0" in below.sentence


def test_steadiness_is_one_straight_on_and_nothing_after_a_round_trip():
    way = np.arange(1, 9)[:, None] * np.array([2.0, -1, -1])
    assert steadiness(softmax(way)) == pytest.approx(1)
    there_and_back = np.concatenate([way, way[-2::-1], 0 * way[:1]])
    assert steadiness(softmax(there_and_back)) == pytest.approx(0)
    many = softmax(np.stack([way, 2 * way], 1))
    assert steadiness(many) == pytest.approx([1, 1])


def uncentred(p):
    alpha = np.log(p)
    return np.abs(alpha[-1] - alpha[0]).sum() / np.abs(np.diff(alpha, axis=0)).sum()


def test_steadiness_needs_the_centre_and_the_first_step():
    assert checks.ex_9_2(steadiness).state == checks.SOLVED
    assert checks.ex_9_2(uncentred).state == checks.WRONG


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("letter, leak", LEAKS.items())
def test_each_planted_leak_is_found(letter, leak, seed):
    assert reference_alarm(suspects(seed)[letter], STAGES) == leak


def test_an_alarm_that_keeps_no_copies_is_told_so():
    def careless(trainer, stages):
        before = trainer.model.state_dict()
        for stage in stages:
            trainer.run(stage)
        still = before["arch_alpha"].equal(trainer.model.state_dict()["arch_alpha"])
        return "left out" if still else "honest"

    assert checks.ex_9_3(reference_alarm).state == checks.SOLVED
    found = checks.ex_9_3(careless)
    assert found.state == checks.WRONG and "keep copies" in found.sentence


def test_the_timeline_counts_the_steps_that_move_alpha():
    plans = [make(10, 1e-3) for make in (stage_wise, joint, bilevel)]
    assert "5 of 10 (stage-wise), 10 of 10 (joint), 5 of 10 (bilevel)" in timeline(plans).alt


def test_a_block_is_heard_where_it_ends_below_the_noise():
    steps, noise = np.linspace(1, 0.95, 5), np.random.default_rng(0)
    entropy = np.stack([steps, steps**8], 1)
    deaf = 1 - 0.02 * noise.random((5, 40)) - 0.1 * np.arange(5)[:, None] / 5
    picture = heard(entropy, [0.3, 0.9], deaf, noise.random(40) / 2, steps**9)
    assert "1 of 2 blocks end surer than 19 in 20 searches that hear noise" in picture.alt


def test_rivals_and_verdicts_count_what_they_show():
    dice = {"a": np.array([0.2, 0.4]), "b": np.array([0.5, 0.7]), "uniform": np.zeros(2)}
    won = {"a": [("skip", 0.5), ("conv_3x3", 0.4)], "b": [("skip", 0.9), ("none", 0.3)]}
    alt = rivals(dice, won).alt
    assert "Mean Dice 0.00 (uniform) to 0.60 (b); all searches name one winner in 1 of 2" in alt
    alt = verdicts(won, 4 / 3).alt
    assert "Nothing to learn: 3 of 4 winners (by chance 1), 2 skips" in alt


def test_operators_without_numbers_are_told_from_those_that_learn():
    assert all(map(is_free, ("none", "skip", "avg_pool_3x3", "darts_max_pool_3x3")))
    assert not any(map(is_free, ("conv_3x3", "darts_sep_conv_5x5")))
