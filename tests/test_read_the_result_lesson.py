"""Lesson 10: its checks name what is wrong, its figures say what they were given."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lessons import LESSONS, exercises, read

from naslora_workbook.figures.verdict import probed, responses, unexplained, verdict, worth
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_10 import (
    cheapest,
    distance,
    drawn,
    near,
    reordered,
    spans,
)

LESSON = [lesson for lesson in LESSONS if lesson.number == 10]


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


@pytest.mark.parametrize(
    "exercise", [e for x in LESSON for e in exercises(read(x))], ids=lambda e: e.number
)
def test_every_solution_passes(exercise):
    known = {"torch": torch, "np": np}
    exec(exercise.solution, known)
    (answer,) = (v for n, v in known.items() if n not in ("torch", "np", "__builtins__"))
    check = getattr(checks, f"ex_{exercise.number.replace('.', '_')}")
    assert check(answer).state == checks.SOLVED


@pytest.mark.parametrize("name", spans(2))
def test_a_kernel_near_a_class_is_named_by_it(name):
    rng = np.random.default_rng(1)
    assert cheapest(near(rng, name, 0.002), spans(2)) == name
    assert cheapest(near(rng, "nothing", 0.0), spans(2)) == "none fits"


def hasty(one, other):
    pairs = zip(one.blocks, other.blocks, strict=True)
    return np.mean([np.abs(np.subtract(a.probability, b.probability)).sum() / 2 for a, b in pairs])


def test_a_search_is_at_distance_zero_from_itself():
    one = drawn(0)
    assert distance(one, reordered(one)) == pytest.approx(0) and hasty(one, reordered(one)) > 0.01
    assert distance(one, drawn(1)) == pytest.approx(distance(drawn(1), one))
    assert checks.ex_10_2(distance).state == checks.SOLVED


def test_figures_state_what_they_were_given():
    found = SimpleNamespace(projection="skip", residual={"skip": 0.01, "conv_1x1": 0.02})
    assert "leaves 2.0 to 2.0 %" in unexplained({"block 0": ("conv_1x1", found)}).alt
    assert "block 5 0.50" in responses([0, 0.5], {"LoRA": [1, 1], "block 5": [1, 0.5]}).alt
    values = np.arange(6.0).reshape(2, 3)
    rho = {"probability": 0.9, "loudness": -0.2}
    drawn = worth(("a", "b", "c"), dict.fromkeys(rho, values), values, rho, 0.5)
    assert "probability better than chance, loudness like chance" in drawn.alt
    worse = worth(("a", "b", "c"), {"loudness": values}, values, {"loudness": -0.6}, 0.5)
    assert "loudness worse than chance" in worse.alt and "loudness -0.60" in worse.alt


def test_an_interval_around_zero_cannot_say_who_is_ahead():
    assert verdict(0.05, 0.2) == "higher" and verdict(-0.2, -0.05) == "lower"
    differences = {"one over two": (0.1, -0.1, 0.3)}
    alt = probed({"base": (0.5, 0.4, 0.6)}, differences, "score", "two seeds").alt
    assert "one over two: cannot tell (two seeds)" in alt and "base 0.500 (0.400 to 0.600)" in alt
