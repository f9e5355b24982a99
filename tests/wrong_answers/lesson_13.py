"""Wrong answers of lesson 13."""

import re

import numpy as np

from wrong_answers import Wrong


def unknown_is_background(mask, colours):
    return np.argmax([(mask == np.array(c)).all(-1) for c in colours], 0)


def one_channel(mask, colours):
    numbers = np.full(mask.shape[:2], -1)
    for number, colour in enumerate(colours):
        numbers[(mask == np.array(colour)).any(-1)] = number
    if not all(np.isin(mask[..., c], [k[c] for k in colours]).all() for c in range(3)):
        raise ValueError("there are values that are not listed")
    return numbers


def by_values(mask, colours):
    """Refuses only where a channel's value occurs in no listed colour."""
    if not all(np.isin(mask[..., c], [k[c] for k in colours]).all() for c in range(3)):
        raise ValueError("there are values that are not listed")
    return unknown_is_background(mask, colours)


def patients(names, pattern):
    return {re.search(pattern, n)[1] for n in names}


def same_names(splits, pattern):
    return set(splits["train"]) & set(splits["test"])


def train_and_test_alone(splits, pattern):
    return patients(splits["train"], pattern) & patients(splits["test"], pattern)


def with_test_alone(splits, pattern):
    a, b, c = (patients(names, pattern) for names in splits.values())
    return c & (a | b)


def in_all_three(splits, pattern):
    a, b, c = (patients(names, pattern) for names in splits.values())
    return a & b & c


def rows_first(mask, size):
    return np.argwhere(mask).mean(0) * size / np.array(mask.shape)


def reversed_too_early(mask, size):
    return np.argwhere(mask).mean(0)[::-1] * size / np.array(mask.shape)


def one_scale(mask, size):
    return np.argwhere(mask).mean(0)[::-1] * size / max(mask.shape)


def not_scaled(mask, size):
    return np.argwhere(mask).mean(0)[::-1]


WRONG = [
    Wrong("13.1", "unknown is background", "must raise ValueError", (unknown_is_background,)),
    Wrong("13.1", "one channel", "all three channels|not listed", (one_channel,)),
    Wrong("13.1", "values instead of colours", "not listed", (by_values,)),
    Wrong("13.2", "names compared", "Compare patients", (same_names,)),
    Wrong("13.2", "train and test only", "val is missing", (train_and_test_alone,)),
    Wrong("13.2", "train and val not compared", "train and val are", (with_test_alone,)),
    Wrong("13.2", "in all three", "two of the splits", (in_all_three,)),
    Wrong("13.3", "row first", "not .row, column.", (rows_first,)),
    Wrong("13.3", "reversed too early", "divided by the height", (reversed_too_early,)),
    Wrong("13.3", "one scale", "same scale", (one_scale,)),
    Wrong("13.3", "not scaled", "own pixels", (not_scaled,)),
]
