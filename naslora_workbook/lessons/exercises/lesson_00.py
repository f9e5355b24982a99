"""Exercises of lesson 00: measure a mask, and draw it without harm."""

import numpy as np
from scipy import ndimage

from naslora_core.training.metrics import dice, iou
from naslora_workbook.lessons import checks

KEPT, CHANGED = "truth as it was", "truth changed"


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
        hint="Dice is twice the shared pixels, divided by the pixels of the one mask plus those of "
        "the other. Two empty masks have Dice 1: decide this case before you divide.",
        mistakes={
            "This is the IoU: it divides by the pixels of either mask.": iou,
            "This is half of the Dice: shared pixels count twice.": lambda a, b: dice(a, b) / 2,
        },
        proves="This is the number that every table of the workbook reports.",
    )


def ex_0_2(answer):
    """A drawing that changes the truth"""
    return checks.check(
        "0.2",
        lambda truth: _rim_and_truth(answer, truth),
        lambda truth: [_rim(truth), KEPT],
        lambda rng: (blob(rng),),
        hint="The rim is what an erosion takes away, and the argument must not change.",
        mistakes={
            "The rim is right, but the argument was changed: the caller's truth is now a rim.": (
                lambda truth: [_rim(truth), CHANGED]
            ),
            "This rim lies outside the mask: take the mask's own pixels.": (
                lambda truth: [ndimage.binary_dilation(truth) & ~truth, KEPT]
            ),
        },
        proves="The rim is right, and the truth is as it was.",
    )


def _rim_and_truth(draw, truth: np.ndarray) -> list:
    """What was drawn, and in words what became of the truth."""
    before = truth.copy()
    return [draw(truth), KEPT if (before == truth).all() else CHANGED]


def _rim(truth: np.ndarray) -> np.ndarray:
    return truth & ~ndimage.binary_erosion(truth)


def blob(rng: np.random.Generator, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A random smooth mask, bool."""
    return ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0
