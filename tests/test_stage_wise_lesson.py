"""Lesson 09: its figures say what was found, its checks name what is wrong, its suspects differ."""

import math

import numpy as np
import pytest

from naslora_core.search.schedule import bilevel, joint, stage_wise
from naslora_workbook.figures.stages import controls, is_free, timeline, winner_tiles
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


def test_steadiness_is_one_straight_on_and_nothing_after_a_round_trip():
    way = np.arange(1, 9)[:, None] * np.array([2.0, -1, -1])
    assert steadiness(softmax(way)) == pytest.approx(1)
    there_and_back = np.concatenate([way, way[-2::-1], 0 * way[:1]])
    assert steadiness(softmax(there_and_back)) == pytest.approx(0)
    many = softmax(np.stack([way, 2 * way], 1))
    assert steadiness(many) == pytest.approx([1, 1])


def test_the_references_pass_their_own_checks():
    assert checks.ex_9_2(steadiness).state == checks.SOLVED
    assert checks.ex_9_3(reference_alarm).state == checks.SOLVED


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("letter, leak", LEAKS.items())
def test_each_planted_leak_is_found(letter, leak, seed):
    assert reference_alarm(suspects(seed)[letter], STAGES) == leak


def test_the_timeline_counts_the_steps_that_move_alpha():
    plans = [make(10, 1e-3) for make in (stage_wise, joint, bilevel)]
    assert "5 of 10 (stage-wise), 10 of 10 (joint), 5 of 10 (bilevel)" in timeline(plans).alt


def test_controls_count_what_lies_above_the_noise():
    ranks = {"planted": [(40.0, 99.0), (97.0, 100.0)], "permuted": [(10.0, 96.0)]}
    alt = controls(ranks).alt
    assert "planted 2 of 2, permuted 1 of 1" in alt
    assert "planted, certainty: 1" in alt and "permuted, certainty: 0" in alt


def test_tiles_tell_every_winner():
    won = {"a": [("skip", 0.5), ("conv_3x3", 0.4)], "b": [("skip", 0.9), ("none", 0.3)]}
    alt = winner_tiles(won, "Skip wins 2 of 4").alt
    assert alt == "Skip wins 2 of 4. a: skip 0.50, conv_3x3 0.40; b: skip 0.90, none 0.30."


def test_operators_without_numbers_are_told_from_those_that_learn():
    assert all(map(is_free, ("none", "skip", "avg_pool_3x3", "darts_max_pool_3x3")))
    assert not any(map(is_free, ("conv_3x3", "darts_sep_conv_5x5")))
