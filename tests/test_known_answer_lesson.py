"""Lesson 08: figures say what was found, checks name what is wrong, suspects differ as promised."""

import copy

import pytest
import torch

from naslora_core.search.schedule import bilevel, joint
from naslora_workbook import figures
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises import lesson_08
from naslora_workbook.lessons.exercises.lesson_08 import batches, outcome, reference_alarm, suspects
from naslora_workbook.research.operator_recovery import Race

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
    assert "right answer is skip; projection says skip and argmax says none" in alt
    assert "Right from step 20 on" in alt
    alt = figures.race(a_race(projection="none"), ("none", "skip")).alt
    assert alt.endswith("Projection does not end right.")


def test_the_confusion_counts_answers_of_the_right_field():
    field = {"skip": "1", "conv_1x1": "1", "conv_3x3": "3x3"}
    races = [a_race(argmax="conv_1x1"), a_race(projection=None, argmax="conv_3x3", seed=1)]
    drawn = figures.confusion(races, field).alt
    assert "in 1 of 2 answers, projection in 1" in drawn


def test_budgets_turns_and_the_matrix_state_their_finding():
    assert "3466 steps at 0.0003" in figures.budgets({3e-4: [0.11]}, 9).alt
    ways = {"joint": [(0, 0), (1, 2)], "bilevel": [(0, 0), (3, 3)]}
    drawn = figures.turns([joint(6, 0.1), bilevel(6, 0.1)], ways, {"exact": (2, 2)})
    assert "lpha ends at 1.00 (joint), 3.00 (bilevel)" in drawn.alt
    left = {"skip": {"none": 1.0, "skip": 0.0}, "pool": {"none": 1.0, "skip": 0.001}}
    assert "1 to 1 classes fit" in figures.expressions(left, dict.fromkeys(left, "skip")).alt


def central(loss, alpha, h):
    steps = h * torch.eye(len(alpha), dtype=alpha.dtype)
    return torch.stack([(loss(alpha + s) - loss(alpha - s)) / (2 * h) for s in steps])


def test_differences_are_central():
    assert checks.ex_8_1(central).state == checks.SOLVED


def test_the_schedule_is_told_what_its_races_end_in(monkeypatch):
    monkeypatch.setattr(lesson_08, "SEEDS", (0,))
    solved = checks.ex_8_2(lambda passes: joint(passes, lr=0.007, alpha_lr=0.2))
    assert solved.state == checks.SOLVED
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


def test_the_reference_passes_its_own_check():
    assert checks.ex_8_3(reference_alarm).state == checks.SOLVED
