"""Exercises of lesson 03: two rankings, two intervals, a loss without its weights."""

import numpy as np
import torch
import torch.nn.functional as F

from naslora_core.training.losses import boundary_weight
from naslora_core.training.metrics import confusion, global_iou, iou
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_00 import blob

MEAN, POOLED = "in the mean over images", "over all pixels"
ORDERS = {MEAN: f"a is ahead {MEAN}", POOLED: f"b is ahead {POOLED}"}
SWAPPED = {MEAN: f"b is ahead {MEAN}", POOLED: f"a is ahead {POOLED}"}
TIED = {name: f"a tie {name}" for name in ORDERS}


def ex_3_1(answer):
    """Two models, two rankings"""
    return checks.check(
        "3.1",
        lambda: _rankings(answer()),
        lambda: ORDERS,
        [()],
        hint="Over all pixels a small object hardly counts; in the mean over images it does.",
        mistakes={
            "The order of the models is swapped: return the truths, then a, which is ahead in the "
            "mean over images, then b.": lambda: SWAPPED,
            "Your two models score the same: let one fail on a large object and the other on a "
            "small one.": lambda: TIED,
        },
        proves="The two IoUs rank your models in opposite order: a result must say which it is.",
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


def ex_3_3(answer):
    """Two intervals for one difference"""

    def case(rng):
        seeds, images = int(rng.integers(3, 6)), int(rng.integers(12, 20))
        hard = rng.normal(0, 0.2, images)  # some images are hard for both models
        a, b = (0.6 + hard + rng.normal(0, 0.02, (seeds, images)) for _ in range(2))
        picks, others = (_picks(rng, seeds, images) for _ in range(2))
        return a, b, picks, others

    return checks.check(
        "3.3",
        answer,
        two_intervals,
        case,
        hint="Paired: one pick of seeds and images, used for a and for b. Unpaired: `picks` for a, "
        "`others` for b. `np.ix_(rows, columns)` selects both at once.",
        mistakes={
            "These are the two intervals in the other order: paired comes first.": (
                lambda *given: two_intervals(*given)[::-1]
            ),
            "Both intervals are paired: the unpaired one takes `others` for b.": (
                lambda a, b, picks, others: two_intervals(a, b, picks, picks)
            ),
            "These are 90 % intervals: 95 % lie between the quantiles .025 and .975.": (
                lambda *given: two_intervals(*given, ends=(0.05, 0.95))
            ),
            "You draw images only: the rows, the seeds, must be drawn too.": (
                lambda a, b, *picks: two_intervals(a, b, *map(_images_only, picks))
            ),
        },
        proves="The hard images are hard for both models: pairing removes them from the interval.",
        tolerance=1e-6,
    )


def two_intervals(a, b, picks, others, ends=(0.025, 0.975)) -> list[np.ndarray]:
    """The reference of 3.3: the paired and the unpaired 95 % interval of a - b, each `2`."""
    gains = [(a - b)[np.ix_(*pick)].mean() for pick in picks]
    pairs = zip(picks, others, strict=True)
    apart = [a[np.ix_(*first)].mean() - b[np.ix_(*second)].mean() for first, second in pairs]
    return [np.quantile(gains, ends), np.quantile(apart, ends)]


def _picks(rng: np.random.Generator, seeds: int, images: int, draws: int = 200) -> list[tuple]:
    """Seeds and images drawn with replacement, as pairs of indices."""
    return [
        (rng.integers(seeds, size=seeds), rng.integers(images, size=images)) for _ in range(draws)
    ]


def _images_only(picks: list[tuple]) -> list[tuple]:
    return [(np.arange(len(rows)), columns) for rows, columns in picks]


def ex_3_2(answer):
    """The loss that ignores its weights"""

    def case(rng):
        truth = torch.from_numpy(np.stack([blob(rng, (24, 24)) for _ in range(2)]))[:, None]
        logits = torch.from_numpy(rng.normal(size=truth.shape))
        return logits, truth.double(), boundary_weight(truth.double(), 9)

    def intended(logits, truth, weight):
        cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return ((weight * cross).sum((2, 3)) / weight.sum((2, 3))).mean()

    return checks.check(
        "3.2",
        lambda *arguments: _pull_and_loss(answer, *arguments),
        lambda *arguments: _pull_and_loss(intended, *arguments),
        case,
        hint="The picture is the gradient of every logit: near the outline it should be largest. "
        "Weight pixel by pixel, take the weighted mean of each mask, then the mean over masks.",
        mistakes={
            'The weights still cancel: `reduction` must be "none", so that every pixel keeps its '
            "own cross-entropy.": (
                lambda logits, truth, weight: _pull_and_loss(_plain, logits, truth, weight)
            ),
            "You divide by the weights of all masks together: divide mask by mask, then take the "
            "mean over masks.": (
                lambda logits, truth, weight: _pull_and_loss(_pooled, logits, truth, weight)
            ),
            "Divide by the sum of the weights, not by the number of pixels.": (
                lambda logits, truth, weight: _pull_and_loss(_unnormalised, logits, truth, weight)
            ),
        },
        proves="The gradient is large where the weights are large. With the IoU term this is "
        "`structure`.",
        tolerance=1e-7,
    )


def _plain(logits, truth, weight) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, truth)


def _pooled(logits, truth, weight) -> torch.Tensor:
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (weight * cross).sum() / weight.sum()


def _unnormalised(logits, truth, weight) -> torch.Tensor:
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (weight * cross).mean()


def _pull_and_loss(loss, logits, truth, weight) -> list:
    """The gradient `h w` of the first mask's logits, and the loss."""
    logits = logits.clone().requires_grad_()
    value = loss(logits, truth, weight)
    if not torch.is_tensor(value) or value.ndim:
        raise ValueError("return a scalar tensor, the mean over masks: its gradient is asked for")
    value.backward()
    return [logits.grad[0, 0], value.detach()]
