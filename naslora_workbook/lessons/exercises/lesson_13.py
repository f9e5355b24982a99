"""Exercises of lesson 13: colours to class numbers, patients in two splits, a click's two axes."""

import re
from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np

from naslora_workbook.lessons.checks import exercise

COLOURS = ((0, 0, 0), (0, 128, 0), (200, 0, 0), (0, 0, 128), (0, 200, 0))


def _numbers(mask: np.ndarray, colours, strict: bool = True) -> np.ndarray:
    """The reference of 13.1; strict: whether a colour that is not listed is refused."""
    found = np.array([(mask == np.array(c)).all(-1) for c in colours])
    if strict and not found.any(0).all():
        raise ValueError("a colour that is not listed")
    return found.argmax(0)


def _any_channel(mask: np.ndarray, colours) -> np.ndarray:
    _numbers(mask, colours)  # it refuses
    numbers = np.full(mask.shape[:2], -1)
    for number, colour in enumerate(colours):
        numbers[(mask == np.array(colour)).any(-1)] = number
    return numbers


def _refuses(answer, mask: np.ndarray, colours) -> str:
    """In words, whether a pixel of an unlisted colour is told, whichever of these it has."""
    for odd in _unlisted(colours):
        spoilt = mask.copy()
        spoilt[0, 0] = odd
        try:
            answer(spoilt, colours)
        except ValueError:
            continue
        return f"a colour that is not listed became a class: {odd}"
    return "a colour that is not listed is refused"


def _unlisted(colours) -> list[tuple[int, int, int]]:
    """What a blurred edge holds, and where there is one, a colour whose every channel is listed."""
    mixed = (c for c in product(*(sorted({*values}) for values in zip(*colours, strict=True))))
    return [(0, 127, 0), *[c for c in mixed if c not in colours][:1]]


@exercise(
    "Colours to class numbers",
    _numbers,
    seen=lambda answer, mask, colours: [answer(mask, colours), _refuses(answer, mask, colours)],
    not_refused=partial(_numbers, strict=False),
    one_channel=_any_channel,
)
def ex_13_1(rng):
    colours = [COLOURS[0], *rng.permutation(COLOURS[1:])[: rng.integers(1, 4)].tolist()]
    colours = [tuple(map(int, c)) for c in colours]
    numbers = rng.integers(0, len(colours), rng.integers(3, 9, 2))
    return np.array(colours, np.uint8)[numbers], colours


def _patients(splits, pattern: str) -> dict[str, set[str]]:
    return {s: {re.search(pattern, n)[1] for n in names} for s, names in splits.items()}


def _shared(splits, pattern: str, pairs: Sequence[str]) -> set[str]:
    """Patients that both splits of one of the pairs have."""
    of = _patients(splits, pattern)
    return set().union(*(of[a] & of[b] for a, b in map(str.split, pairs)))


def _frames(rng: np.random.Generator, patients) -> list[str]:
    """Two images of every patient, no name twice."""
    return [f"{p}_frame{n}" for p in patients for n in rng.permutation(900)[:2]]


@exercise(
    "Patients in two splits",
    partial(_shared, pairs=("train val", "train test", "val test")),
    seen=lambda answer, *given: ", ".join(sorted(answer(*given))) or "nobody",
    by_name=partial(_shared, pairs=()),
    without_val=partial(_shared, pairs=("train test",)),
    train_val_missing=partial(_shared, pairs=("train test", "val test")),
    in_all_three=lambda *given: set.intersection(*_patients(*given).values()),
)
def ex_13_2(rng):
    patients = [f"patient{n}" for n in rng.permutation(30)[:10]]
    everywhere, train_val, train_test, val_test = patients[:4]
    splits = {
        "train": [everywhere, train_val, train_test, *patients[4:6]],
        "val": [everywhere, train_val, val_test, *patients[6:8]],
        "test": [everywhere, train_test, val_test, *patients[8:]],
    }
    return {s: _frames(rng, each) for s, each in splits.items()}, r"^(patient\d+)_"


def _placed(mask: np.ndarray, size: int, sides=None) -> np.ndarray:
    """x, y of the mask's centre, each scaled by a side of the image."""
    return np.argwhere(mask).mean(0)[::-1] * size / np.array(sides or mask.shape[::-1])


@exercise(
    "The click that landed elsewhere",
    _placed,
    row_first=lambda mask, size: _placed(mask, size)[::-1],
    sides_swapped=lambda mask, size: _placed(mask, size, mask.shape),
    one_scale=lambda mask, size: _placed(mask, size, [max(mask.shape)] * 2),
    not_scaled=lambda mask, size: _placed(mask, 1, [1, 1]),
)
def ex_13_3(rng):
    h, w = (int(n) for n in rng.permutation([int(rng.integers(20, 40)), 60]))
    y, x = int(rng.integers(0, h - 8)), int(rng.integers(0, w - 8))
    mask = np.zeros((h, w), bool)
    mask[y : y + 5, x : x + 7] = True
    return mask, 128
