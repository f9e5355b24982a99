"""Lesson 10: its checks name what is wrong, its figures say what they were given."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lessons import LESSONS, exercises, read

from naslora_workbook.figures.verdict import kinship, listening, probed, verdict, worth
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_10 import (
    cheapest,
    distance,
    drawn,
    named,
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


def best_fit(kernel, classes, tolerance=0.01):
    return list(classes)[-1]


def not_squared(kernel, classes, tolerance=0.01):
    return cheapest(kernel, classes, tolerance**2)


def by_place(kernel, classes, tolerance=0.01):
    for name, basis in classes.items():
        inside = kernel * (basis != 0).any(0)
        if (kernel - inside).square().sum() <= tolerance * kernel.square().sum():
            return name
    return "none fits"


@pytest.mark.parametrize("answer", [best_fit, not_squared, by_place])
def test_the_cheapest_class_is_no_best_fit_nor_unsquared_nor_told_by_its_place(answer):
    assert checks.ex_10_1(answer).state == checks.WRONG


@pytest.mark.parametrize("name", spans(2))
def test_a_kernel_near_a_class_is_named_by_it(name):
    rng = np.random.default_rng(1)
    assert cheapest(near(rng, name, 0.002), spans(2)) == name
    assert cheapest(near(rng, "nothing", 0.0), spans(2)) == "none fits"


def hasty(one, other):
    pairs = zip(one.blocks, other.blocks, strict=True)
    return np.mean([np.abs(np.subtract(a.probability, b.probability)).sum() / 2 for a, b in pairs])


def blocks_by_place(one, other):
    found = []
    for a, b in zip(one.blocks, other.blocks, strict=True):
        p = dict(zip(one.operators, a.probability, strict=True))
        q = dict(zip(other.operators, b.probability, strict=True))
        found.append(sum(abs(p.get(n, 0) - q.get(n, 0)) for n in p | q) / 2)
    return np.mean(found)


def one_sided(one, other):
    theirs = {b.block: named(b, other) for b in other.blocks}
    mine = {b.block: named(b, one) for b in one.blocks}
    each = [sum(abs(p - theirs[b].get(n, 0)) for n, p in of.items()) for b, of in mine.items()]
    return np.mean(each) / 2


def test_a_search_is_at_distance_zero_from_itself():
    one = drawn(0)
    assert distance(one, reordered(one)) == pytest.approx(0) and hasty(one, reordered(one)) > 0.01
    assert distance(one, drawn(1)) == pytest.approx(distance(drawn(1), one))
    assert checks.ex_10_2(distance).state == checks.SOLVED


@pytest.mark.parametrize("answer", [hasty, blocks_by_place, one_sided])
def test_comparing_by_place_or_from_one_side_is_caught(answer):
    found = checks.ex_10_2(answer)
    assert found.state == checks.WRONG and "the same name, not the same place" in found.sentence


def test_figures_state_what_they_were_given():
    pairs = {"same domain": [(0.1, 0.5), (0.3, 1.0)], "same seed": [(0.4, 0.0)]}
    assert "same domain 0.20, same seed 0.40" in kinship(pairs).alt
    values = np.arange(6.0).reshape(2, 3)
    rho = {"probability": 0.9, "loudness": -0.2}
    drawn = worth(("a", "b", "c"), dict.fromkeys(rho, values), values, rho, 0.5)
    assert "probability better than chance, loudness like chance" in drawn.alt
    worse = worth(("a", "b", "c"), {"loudness": values}, values, {"loudness": -0.6}, 0.5)
    assert "loudness worse than chance" in worse.alt and "loudness -0.60" in worse.alt


def test_what_neighbours_bring_is_a_share_of_the_energy():
    sample = SimpleNamespace(image=np.zeros((8, 8, 3), np.uint8), mask=np.eye(8, dtype=np.uint8))
    maps = {"own token": np.full((2, 2), 3.0), "neighbours": np.ones((2, 2))}
    passed = {"LoRA": [1, 1], "block 5": [1, 0.5]}
    alt = listening(sample, maps, [0, 0.5], passed).alt
    assert "Neighbours bring 10% here; block 5 passes short waves 0.50 times" in alt


def test_an_interval_around_zero_cannot_say_who_is_ahead():
    assert verdict(0.1, 0.05, 0.2) == "better" and verdict(-0.1, -0.2, -0.05) == "worse"
    alt = probed({"base": (0.5, 0.4, 0.6)}, {"one over two": (0.1, -0.1, 0.3)}, "score").alt
    assert "one over two: cannot say" in alt and "base 0.500 (0.400 to 0.600)" in alt
