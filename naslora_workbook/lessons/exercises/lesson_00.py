"""Exercises of lesson 00: measure a mask, and draw it without harm."""

import numpy as np
from scipy import ndimage

from naslora_core.training.metrics import dice, iou
from naslora_workbook.lessons.checks import exercise


def blob(rng: np.random.Generator, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A random smooth mask, bool."""
    return ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0


@exercise("Dice of two masks", dice, iou=iou, half=lambda a, b: dice(a, b) / 2)
def ex_0_1():
    rng, nothing = np.random.default_rng(0), np.zeros((20, 30), bool)
    cases = [(blob(rng), blob(rng)) for _ in range(4)]
    return [*cases, (nothing, cases[0][0]), (nothing, nothing)]


def rim(truth: np.ndarray) -> np.ndarray:
    """The reference of 0.2."""
    return truth & ~ndimage.binary_erosion(truth)


def _in_place(truth: np.ndarray) -> np.ndarray:
    truth[:] = rim(truth)
    return truth


def _rim_and_truth(draw, truth: np.ndarray) -> list:
    """What was drawn, and in words what became of the truth."""
    before = truth.copy()
    drawn = draw(truth)
    return [drawn, "truth as it was" if (before == truth).all() else "truth changed"]


@exercise(
    "A drawing that changes the truth",
    rim,
    seen=_rim_and_truth,
    in_place=_in_place,
    outside=lambda truth: ndimage.binary_dilation(truth) & ~truth,
)
def ex_0_2(rng):
    return (blob(rng),)
