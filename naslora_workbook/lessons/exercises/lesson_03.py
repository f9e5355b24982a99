"""Exercises of lesson 03: two rankings, two intervals, a loss without its weights."""

import numpy as np
import torch
import torch.nn.functional as F

from naslora_core.training.losses import boundary_weight
from naslora_core.training.metrics import confusion, global_iou, iou
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import integers
from naslora_workbook.lessons.exercises.lesson_00 import blob

MEAN, POOLED = "in the mean over images", "over all pixels"


def _orders(first: str, second: str) -> dict[str, str]:
    return {MEAN: f"{first} {MEAN}", POOLED: f"{second} {POOLED}"}


def ex_3_1(answer):
    """Two models, two rankings"""
    return checks.check(
        "3.1",
        lambda: _rankings(answer()),
        lambda: _orders("a is ahead", "b is ahead"),
        [()],
        swapped=lambda: _orders("b is ahead", "a is ahead"),
        tied=lambda: _orders("a tie", "a tie"),
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
    return _orders(_ahead(*means), _ahead(*(global_iou(n)[1] for n in counts)))


def _ahead(a: float, b: float) -> str:
    return "a tie" if np.isclose(a, b) else f"{'a' if a > b else 'b'} is ahead"


def _pull_and_loss(loss, logits, truth, weight) -> list:
    """The gradient `h w` of the first mask's logits, and the loss."""
    logits = logits.clone().requires_grad_()
    value = loss(logits, truth, weight)
    if not torch.is_tensor(value) or value.ndim:
        raise ValueError("return a scalar tensor, the mean over masks: its gradient is asked for")
    value.backward()
    return [logits.grad[0, 0], value.detach()]


def _weighted(logits, truth, weight):
    return weight * F.binary_cross_entropy_with_logits(logits, truth, reduction="none")


@exercise(
    "The loss that ignores its weights",
    lambda *given: (_weighted(*given).sum((2, 3)) / given[2].sum((2, 3))).mean(),
    tolerance=1e-7,
    seen=_pull_and_loss,
    mean_first=lambda logits, truth, weight: F.binary_cross_entropy_with_logits(logits, truth),
    one_mean_for_all=lambda *given: _weighted(*given).sum() / given[2].sum(),
    divided_by_pixels=lambda *given: _weighted(*given).mean(),
)
def ex_3_2(rng):
    truth = torch.from_numpy(np.stack([blob(rng, (24, 24)) for _ in range(2)]))[:, None]
    logits = torch.from_numpy(rng.normal(size=truth.shape))
    return logits, truth.double(), boundary_weight(truth.double(), 9)


def two_intervals(a, b, picks, others, ends=(0.025, 0.975)) -> list[np.ndarray]:
    """The reference of 3.3: the paired and the unpaired 95 % interval of a - b, each `2`."""
    gains = [(a - b)[np.ix_(*pick)].mean() for pick in picks]
    pairs = zip(picks, others, strict=True)
    apart = [a[np.ix_(*first)].mean() - b[np.ix_(*second)].mean() for first, second in pairs]
    return [np.quantile(gains, ends), np.quantile(apart, ends)]


def _picks(rng: np.random.Generator, seeds: int, images: int, draws: int = 200) -> list[tuple]:
    """Seeds and images drawn with replacement, as pairs of indices."""
    return [tuple(rng.integers(n, size=n) for n in (seeds, images)) for _ in range(draws)]


def _images_only(a, b, *picks) -> list[np.ndarray]:
    every = np.arange(len(a))
    return two_intervals(a, b, *([(every, images) for _, images in each] for each in picks))


@exercise(
    "Two intervals for one difference",
    two_intervals,
    tolerance=1e-6,
    unpaired_first=lambda *given: two_intervals(*given)[::-1],
    both_paired=lambda a, b, picks, others: two_intervals(a, b, picks, picks),
    ninety_percent=lambda *given: two_intervals(*given, ends=(0.05, 0.95)),
    images_only=_images_only,
)
def ex_3_3(rng):
    seeds, images = integers(rng, (3, 6), (12, 20))
    hard = rng.normal(0, 0.2, images)  # some images are hard for both models
    a, b = (0.6 + hard + rng.normal(0, 0.02, (seeds, images)) for _ in range(2))
    picks, others = (_picks(rng, seeds, images) for _ in range(2))
    return a, b, picks, others
