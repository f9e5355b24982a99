"""Wrong answers of lesson 03."""

import numpy as np
import torch.nn.functional as F

from naslora_workbook.lessons.exercises.lesson_03 import two_intervals
from wrong_answers import Wrong


def swapped_models():
    large, small = np.ones((10, 10), bool), np.zeros((10, 10), bool)
    small[4, 4] = True
    half = large.copy()
    half[:4] = False
    return [large, small], [large, small & False], [half, small]


def equal_models():
    truths, a, _ = swapped_models()
    return truths, a, a


def one_pick_for_all(a, b, picks, others):
    return two_intervals(a, b, picks, picks)


def ninety_percent(*given):
    return two_intervals(*given, ends=(0.05, 0.95))


def images_only(a, b, picks, others):
    gains = [(a - b)[:, images].mean() for _, images in picks]
    pairs = zip(picks, others, strict=True)
    apart = [a[:, first].mean() - b[:, second].mean() for (_, first), (_, second) in pairs]
    return [np.quantile(gains, [0.025, 0.975]), np.quantile(apart, [0.025, 0.975])]


def unpaired_first(*given):
    return two_intervals(*given)[::-1]


def shipped(logits, truth, weight):
    cross = F.binary_cross_entropy_with_logits(logits, truth)
    return ((weight * cross).sum((2, 3)) / weight.sum((2, 3))).mean()


def pooled(logits, truth, weight):
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (weight * cross).sum() / weight.sum()


def a_number(logits, truth, weight):
    return shipped(logits, truth, weight).item()


WRONG = [
    Wrong("3.1", "a and b swapped", "order of the models", (swapped_models,)),
    Wrong("3.1", "two equal models", "score the same", (equal_models,)),
    Wrong("3.3", "the same pick for both intervals", "unpaired", (one_pick_for_all,)),
    Wrong("3.3", "a 90 % interval", "90 %", (ninety_percent,)),
    Wrong("3.3", "images are drawn, seeds are not", "seeds", (images_only,)),
    Wrong("3.3", "the order of the two", "order", (unpaired_first,)),
    Wrong("3.2", "the mean before the weights", "cancel", (shipped,)),
    Wrong("3.2", "one mean over all masks", "mask by mask", (pooled,)),
    Wrong("3.2", "a number instead of a tensor", "scalar tensor", (a_number,)),
]
