"""Exercises of lesson 03: two rankings, an alarm for bad tools, a loss without its weights."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from naslora_core.training.losses import boundary_weight
from naslora_core.training.metrics import confusion, global_iou, iou
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_00 import blob

MEAN, POOLED = "in the mean over images", "over all pixels"
ORDERS = {MEAN: f"a is ahead {MEAN}", POOLED: f"b is ahead {POOLED}"}


def ex_3_1(answer):
    """Two models, two rankings"""
    return checks.check(
        "3.1",
        lambda: _rankings(answer()),
        lambda: ORDERS,
        [()],
        hint="Over all pixels a small object hardly counts; in the mean over images it does.",
        proves="The core's two IoUs rank your models oppositely: a result must say which it is.",
    )


def _rankings(lists) -> dict[str, str]:
    """Who is ahead in the mean of IoUs, and in the IoU of all pixels."""
    if not isinstance(lists, tuple | list) or len(lists) != 3:
        raise ValueError("return three lists: truths, masks of a, masks of b")
    truths, *models = ([np.asarray(m, bool) for m in masks] for masks in lists)
    for masks in models:
        if [m.shape for m in masks] != [t.shape for t in truths]:
            raise ValueError("truths, a and b must be lists of masks of the same shapes")
    means = [np.mean(list(map(iou, masks, truths))) for masks in models]
    counts = [sum(confusion(m, t, 1) for m, t in zip(x, truths, strict=True)) for x in models]
    pairs = zip(ORDERS, (means, [global_iou(n)[1] for n in counts]), strict=True)
    return {name: f"{_ahead(*pair)} {name}" for name, pair in pairs}


def _ahead(a: float, b: float) -> str:
    return "a tie" if np.isclose(a, b) else f"{'a' if a > b else 'b'} is ahead"


def ex_3_2(answer):
    """An alarm for tools that lie"""
    return checks.check(
        "3.2",
        lambda name: answer(TOOLS[name]),
        lambda name: name.partition(":")[0],
        [(name,) for name in TOOLS],
        hint="Compare with a copy, pixel by pixel. And which mask tells (x, y) from (y, x)? Not "
        "one that is its own mirror image.",
        proves="Six tools, three of them broken in ways that real code was; your alarm rang for "
        "these and for no other.",
    )


def _centre(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())


def _other_centre(mask: np.ndarray) -> tuple[float, float]:
    y, x = ndimage.center_of_mass(mask)
    return float(x), float(y)


def _copying_centre(mask: np.ndarray) -> tuple[float, float]:
    own = mask.copy()
    own[:] = False  # its own copy only
    return _centre(mask)


def _rim_drawer(mask: np.ndarray) -> tuple[float, float]:
    centre = _centre(mask)
    mask &= ~ndimage.binary_erosion(mask)
    return centre


def _roller(mask: np.ndarray) -> tuple[float, float]:
    centre = _centre(mask)
    mask[:] = np.roll(mask, 1, 0)  # as many pixels as before
    return centre


def _swapper(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


TOOLS = {
    "honest: mean": _centre,
    "paints: a rim": _rim_drawer,
    "honest: scipy": _other_centre,
    "swaps: rows first": _swapper,
    "paints: one row on": _roller,
    "honest: a copy": _copying_centre,
}


def ex_3_3(answer):
    """The loss that ignores its weights"""

    def case(rng):
        truth = torch.from_numpy(np.stack([blob(rng, (24, 24)) for _ in range(2)]))[:, None]
        logits = torch.from_numpy(rng.normal(size=truth.shape))
        return logits, truth.double(), boundary_weight(truth.double(), 9)

    def intended(logits, truth, weight):
        cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return ((weight * cross).sum((2, 3)) / weight.sum((2, 3))).mean()

    return checks.check(
        "3.3",
        lambda *arguments: _pull_and_loss(answer, *arguments),
        lambda *arguments: _pull_and_loss(intended, *arguments),
        case,
        hint="The picture is the pull on every logit: near the outline it should be strongest. "
        "Weigh pixel by pixel, take the weighted mean of each mask, then the mean over masks.",
        proves="Your term pulls where the weights say; with the IoU term it is `structure`.",
        tolerance=1e-7,
    )


def _pull_and_loss(loss, logits, truth, weight) -> list:
    """The gradient `h w` of the first mask's logits, and the loss."""
    logits = logits.clone().requires_grad_()
    value = loss(logits, truth, weight)
    if not torch.is_tensor(value) or value.ndim:
        raise ValueError("return a scalar tensor, the mean over masks: its gradient is asked for")
    value.backward()
    return [logits.grad[0, 0], value.detach()]
