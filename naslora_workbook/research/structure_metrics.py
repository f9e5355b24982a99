"""S-measure, weighted F and mean E-measure: what polyps and camouflage are judged by.

They take probabilities `H W` in 0..1 and a boolean truth `H W`, at the image's own size, and give
a number, higher is better. Importing this file enters them in `evaluation.METRICS`. Probabilities
are taken as they are; tools of the field stretch every image to 0..1 first, which flatters a model
that is nowhere sure. Two empty masks score what each docstring says.
"""

import numpy as np
from scipy import ndimage

from naslora_core.training.evaluation import METRICS, Metric

EPS = np.spacing(1)  # as the published code has it, so that numbers agree to the last digits
LEVELS = 256  # of the E-measure's thresholds


def s_measure(probability: np.ndarray, truth: np.ndarray) -> float:
    """Structure as objects and as four quarters, half and half (Fan 2017), in 0..1.

    Empty truth: 1 - mean probability, so two empty masks score 1; full truth: the mean.
    """
    p, share = probability.astype(np.float64), truth.mean()
    if share in (0, 1):
        return float(p.mean() if share else 1 - p.mean())
    objects = share * _likeness(p[truth]) + (1 - share) * _likeness(1 - p[~truth])
    return float(max(0, (objects + _quarters(p, truth)) / 2))


def _likeness(values: np.ndarray) -> float:
    """How near to 1 and how even the probabilities of one side are."""
    spread = values.std(ddof=1) if values.size > 1 else 0
    return 2 * values.mean() / (values.mean() ** 2 + 1 + spread + EPS)


def _quarters(p: np.ndarray, truth: np.ndarray) -> float:
    """SSIM of the quarters around the object's centre, weighted by area.

    A quarter without pixels counts nothing (the published code gives nan for such an object, one
    centred on the last row or column).
    """
    y, x = (int(c) + 1 for c in np.argwhere(truth).mean(0).round())
    parts = [(rows, cols) for rows in np.s_[:y, y:] for cols in np.s_[:x, x:]]
    filled = [part for part in parts if truth[part].size]
    return sum(_ssim(p[part], truth[part]) * truth[part].size for part in filled) / truth.size


def _ssim(p: np.ndarray, truth: np.ndarray) -> float:
    """Likeness of means, spreads and pattern of one quarter; two equal flat quarters have 1."""
    x, y, n = p.mean(), truth.mean(), max(1, p.size - 1)
    together = ((p - x) * (truth - y)).sum() / n
    spread = (((p - x) ** 2).sum() + ((truth - y) ** 2).sum()) / n
    above, below = 4 * x * y * together, (x**2 + y**2) * spread
    return above / (below + EPS) if above else float(below == 0)


def weighted_f(probability: np.ndarray, truth: np.ndarray, beta2: float = 0.3) -> float:
    """F-measure whose errors weigh by place (Margolin 2014), in 0..1.

    beta2: recall's weight, 0.3 as Conv-LoRA's paper has it; tools of the field print it with 1.
    Errors inside the object are smoothed over 7 x 7, those outside count up to twice as much far
    away. Empty truth: 1 if nothing at all was drawn, else 0 (the published code has 0 for both).
    """
    p = probability.astype(np.float64)
    if not truth.any():
        return float(not p.any())
    distance, (rows, columns) = ndimage.distance_transform_edt(~truth, return_indices=True)
    error = np.abs(p - truth)
    smooth = ndimage.gaussian_filter(error[rows, columns], 5, mode="constant", radius=3)
    least = np.where(truth, np.minimum(error, smooth), error)
    weighed = least * np.where(truth, 1, 2 - 0.5 ** (distance / 5))
    hit = truth.sum() - weighed[truth].sum()
    precision = hit / (hit + weighed[~truth].sum() + EPS)
    recall = 1 - weighed[truth].mean()
    return float((1 + beta2) * recall * precision / (recall + beta2 * precision + EPS))


def e_measure(probability: np.ndarray, truth: np.ndarray) -> float:
    """Alignment of mask and truth, their means taken off, over 256 thresholds (Fan 2018).

    Pixels are counted against their number less one, as published, so a perfect mask of very few
    pixels passes 1. The lowest threshold draws every pixel, so with an empty truth two empty
    masks score 255/256 of that; there the score is the share left undrawn, and with a full truth
    the share drawn.
    """
    levels = (probability.astype(np.float64) * (LEVELS - 1)).astype(np.uint8)
    hits, false = (_at_least(levels[side]) for side in (truth, ~truth))
    size, objects, drawn = truth.size, truth.sum(), hits + false
    if objects in (0, size):
        aligned = drawn if objects else size - drawn
    else:
        counts = hits, false, objects - hits, size - objects - false
        p, t = drawn / size, objects / size
        signs = (1 - p, 1 - t), (1 - p, -t), (-p, 1 - t), (-p, -t)
        aligned = sum(n * _alignment(*pair) for n, pair in zip(counts, signs, strict=True))
    return float(np.mean(aligned) / max(1, size - 1))


def _at_least(levels: np.ndarray) -> np.ndarray:
    """How many pixels pass each threshold, `256`."""
    return np.bincount(levels.ravel(), minlength=LEVELS)[::-1].cumsum()


def _alignment(a: np.ndarray, b: float) -> np.ndarray:
    return (2 * a * b / (a**2 + b**2 + EPS) + 1) ** 2 / 4


for _score in (s_measure, weighted_f, e_measure):
    METRICS[_score.__name__] = Metric(_score, "pictures")
