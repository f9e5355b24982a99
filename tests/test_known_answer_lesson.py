"""Lesson 08: figures say what was found, checks name what is wrong, suspects differ as promised."""

import copy

import pytest
import torch

from naslora_core.search.schedule import bilevel, joint
from naslora_workbook import figures as figures
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises import lesson_08
from naslora_workbook.lessons.exercises.lesson_08 import batches, outcome, reference_alarm, suspects
from naslora_workbook.research.operator_recovery import Race, rate

BUGS = {"A": "same half", "B": "coupled decay", "C": "no softmax", "D": "honest"}


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def a_race(projection="skip", argmax="none", seed=0):
    event = {"projection": projection, "argmax": argmax, "probability": [0.6, 0.4]}
    history = [{"step": step, **event} for step in (20, 40)]
    return Race("skip", seed, "skip", projection, argmax, {}, history)


def test_a_race_says_what_is_right_and_what_both_readings_say():
    alt = figures.race(a_race(), ("none", "skip")).alt
    assert "skip is right; projection says skip and argmax says none" in alt
    assert "Right from step 20 on" in alt
    alt = figures.race(a_race(projection="none"), ("none", "skip")).alt
    assert alt.endswith("Projection does not end right.")


def test_hits_stand_beside_their_chance_and_what_is_not_recorded_is_said():
    races = [a_race(), a_race(argmax="skip", seed=1)]
    rates = {"cell": {w: rate(races, w) for w in ("projection", "argmax")}}
    alt = figures.hits({"cell": races, "inside": []}, rates).alt
    assert "projection 100% (chance 100%); argmax 50% (chance 50%); right from step 20" in alt
    assert "inside, 0 searches; not recorded yet" in alt
    assert "not recorded yet" in figures.hits({"cell": [], "inside": []}, {}).alt


def test_budgets_turns_and_the_matrix_state_their_finding():
    assert "3466 steps at 0.0003" in figures.budgets({3e-4: [0.11]}, 9).alt
    ways = {"joint": [(0, 0), (1, 2)], "bilevel": [(0, 0), (3, 3)]}
    drawn = figures.turns([joint(6, 0.1), bilevel(6, 0.1)], ways, {"exact": (2, 2)})
    assert "alpha ends at 1.00 (joint), 3.00 (bilevel)" in drawn.alt
    left = {"skip": {"none": 1.0, "skip": 0.0}, "pool": {"none": 1.0, "skip": 0.001}}
    assert "1 to 1 classes fit" in figures.expressions(left, dict.fromkeys(left, "skip")).alt


def central(loss, alpha, h):
    steps = h * torch.eye(len(alpha), dtype=alpha.dtype)
    return torch.stack([(loss(alpha + s) - loss(alpha - s)) / (2 * h) for s in steps])


def one_sided(loss, alpha, h):
    steps = h * torch.eye(len(alpha), dtype=alpha.dtype)
    return torch.stack([(loss(alpha + s) - loss(alpha)) / h for s in steps])


def careless(loss, alpha, h):
    alpha += 0.1
    return central(loss, alpha - 0.1, h)


def test_differences_are_central_and_leave_alpha_alone():
    assert checks.ex_8_1(central).state == checks.SOLVED
    assert checks.ex_8_1(one_sided).state == checks.WRONG
    assert "alpha has moved" in checks.ex_8_1(careless).sentence


def test_the_schedule_is_told_what_its_races_end_in(monkeypatch):
    monkeypatch.setattr(lesson_08, "SEEDS", (0,))
    solved = checks.ex_8_2(lambda passes: joint(passes, lr=0.007, alpha_lr=0.2))
    assert solved.state == checks.SOLVED
    assert "more than 120" in checks.ex_8_2(lambda passes: joint(2 * passes, 0.01)).sentence
    assert "projection says conv_5x5" in outcome(joint(20, 1e-4), 120)
    assert outcome("joint", 120) == "no Schedule but a str"


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("letter, bug", BUGS.items())
def test_each_planted_bug_is_found(letter, bug, seed):
    assert reference_alarm(suspects(seed)[letter], *batches(seed)) == bug


def test_a_suspect_is_copied_with_its_optimisers():
    search, (a, b) = suspects()["D"], batches()
    twin = copy.deepcopy(search)
    twin.step(a, b)
    assert torch.equal(search.alpha, suspects()["D"].alpha) and not twin.alpha.equal(search.alpha)


def test_an_alarm_that_trusts_everybody_is_not_right():
    assert checks.ex_8_3(reference_alarm).state == checks.SOLVED
    found = checks.ex_8_3(lambda search, a, b: "honest")
    assert found.state == checks.WRONG and "'same half'" in found.sentence
