"""Exercises of lesson 00: measure a mask, and draw it without harm."""

import numpy as np
from scipy import ndimage

from naslora_core.training.metrics import dice, iou
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
        iou=iou,
        half=lambda a, b: dice(a, b) / 2,
    )


def ex_0_2(answer):
    """A drawing that changes the truth"""

    def in_place(truth):
        truth[:] = rim(truth)
        return truth

    return checks.check(
        "0.2",
        answer,
        rim,
        lambda rng: (blob(rng),),
        seen=_rim_and_truth,
        in_place=in_place,
        outside=lambda truth: ndimage.binary_dilation(truth) & ~truth,
    )


def _rim_and_truth(draw, truth: np.ndarray) -> list:
    """What was drawn, and in words what became of the truth."""
    before = truth.copy()
    drawn = draw(truth)
    return [drawn, "truth as it was" if (before == truth).all() else "truth changed"]


def rim(truth: np.ndarray) -> np.ndarray:
    """The reference of 0.2."""
    return truth & ~ndimage.binary_erosion(truth)


def blob(rng: np.random.Generator, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A random smooth mask, bool."""
    return ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0
