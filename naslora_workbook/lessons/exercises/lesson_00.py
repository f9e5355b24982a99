"""Exercises of lesson 00: measure a mask, and draw it without harm."""

import numpy as np
from scipy import ndimage

from naslora_core.training.metrics import dice
from naslora_workbook.lessons import checks


def ex_0_1(answer):
    """Dice of two masks"""
    rng = np.random.default_rng(0)
    cases = [(blob(rng), blob(rng)) for _ in range(4)]
    nothing = np.zeros((20, 30), bool)
    return checks.check(
        "0.1",
        answer,
        dice,
        [*cases, (nothing, cases[0][0]), (nothing, nothing)],
        hint="Twice the pixels that both have, over the pixels of the one and of the other; two "
        "empty masks agree perfectly.",
        proves="This is the number that every table of the workbook reports.",
    )


def ex_0_2(answer):
    """A drawing that changes the truth"""
    return checks.check(
        "0.2",
        lambda truth: _rim_and_truth(answer, truth),
        lambda truth: [truth & ~ndimage.binary_erosion(truth), "truth as it was"],
        lambda rng: (blob(rng),),
        hint="The rim is what an erosion takes away, and the argument must not change.",
        proves="The rim is right, and the truth is as it was.",
    )


def _rim_and_truth(draw, truth: np.ndarray) -> list:
    """What was drawn, and in words what became of the truth."""
    before = truth.copy()
    return [draw(truth), "truth as it was" if (before == truth).all() else "truth changed"]


def blob(rng: np.random.Generator, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A random smooth mask, bool."""
    return ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0
