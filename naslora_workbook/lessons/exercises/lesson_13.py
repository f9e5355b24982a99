"""Exercises of lesson 13: colours to class numbers, patients in two splits, a click's two axes."""

import re
from itertools import product

import numpy as np

from naslora_workbook.lessons import checks

COLOURS = ((0, 0, 0), (0, 128, 0), (200, 0, 0), (0, 0, 128), (0, 200, 0))


def ex_13_1(answer):
    """Colours to class numbers"""

    def case(rng):
        colours = [COLOURS[0], *rng.permutation(COLOURS[1:])[: rng.integers(1, 4)].tolist()]
        colours = [tuple(map(int, c)) for c in colours]
        numbers = rng.integers(0, len(colours), rng.integers(3, 9, 2))
        return np.array(colours, np.uint8)[numbers], colours

    def both(mask, colours):
        return [answer(mask, colours), _refuses(answer, mask, colours)]

    def reference(mask, colours):
        return [_numbers(mask, colours), REFUSED]

    return checks.check(
        "13.1",
        both,
        reference,
        case,
        hint="A pixel has class i where all three channels equal those of colours[i]. If it equals "
        "none of them, raise ValueError.",
        proves="Every listed colour gets its index as number, and every other colour is refused.",
        mistakes={
            "A colour that is not listed must raise ValueError; yours gives it a class.": (
                lambda mask, colours: [_numbers(mask, colours), _accepts((0, 127, 0))]
            ),
            "Compare all three channels at once, `.all(-1)`: one equal channel is not enough.": (
                lambda mask, colours: [_any_channel(mask, colours), REFUSED]
            ),
        },
    )


REFUSED = "a colour that is not listed is refused"


def _accepts(colour) -> str:
    return f"a colour that is not listed became a class: {colour}"


def _numbers(mask: np.ndarray, colours) -> np.ndarray:
    return np.argmax([(mask == np.array(c)).all(-1) for c in colours], 0)


def _any_channel(mask: np.ndarray, colours) -> np.ndarray:
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
        return _accepts(odd)
    return REFUSED


def _unlisted(colours) -> list[tuple[int, int, int]]:
    """What a blurred edge holds, and where there is one, a colour whose every channel is listed."""
    mixed = (c for c in product(*(sorted({*values}) for values in zip(*colours, strict=True))))
    return [(0, 127, 0), *[c for c in mixed if c not in colours][:1]]


def ex_13_2(answer):
    """Patients in two splits"""

    def case(rng):
        patients = [f"patient{n}" for n in rng.permutation(30)[:8]]  # 1, 11 and 12 among them
        splits = {"train": patients[:4], "val": patients[4:6], "test": patients[6:]}
        if rng.random() < 0.8:
            splits["test"] = [*splits["test"], *rng.permutation(patients[:6])[:2].tolist()]
        if rng.random() < 0.5:
            splits["val"] = [*splits["val"], patients[0]]
        named = {s: _frames(rng, each) for s, each in splits.items()}
        return named, r"^(patient\d+)_"

    def reference(splits, pattern):
        return _listed(_shared(splits, pattern, "train val", "train test", "val test"))

    return checks.check(
        "13.2",
        lambda *arguments: _listed(answer(*arguments)),
        reference,
        case,
        hint="Make a set of patients for each split. Then take what any two of the three share.",
        proves="Names that are all different can still be one patient; your function finds them.",
        mistakes={
            "Compare patients, not names: two images of one patient have different names.": (
                lambda splits, pattern: "nobody"
            ),
            "val is missing: a patient may be in train and val, or in val and test.": (
                lambda splits, pattern: _listed(_shared(splits, pattern, "train test"))
            ),
            "train and val are not compared with each other.": (
                lambda splits, pattern: _listed(_shared(splits, pattern, "train test", "val test"))
            ),
            "A patient in two of the splits is enough; yours must be in all three.": (
                lambda splits, pattern: _listed(
                    set.intersection(*_patients(splits, pattern).values())
                )
            ),
        },
    )


def _patients(splits, pattern: str) -> dict[str, set[str]]:
    return {s: {re.search(pattern, n)[1] for n in names} for s, names in splits.items()}


def _shared(splits, pattern: str, *pairs: str) -> set[str]:
    """Patients that both splits of one of the pairs have."""
    of = _patients(splits, pattern)
    return set().union(*(of[a] & of[b] for a, b in map(str.split, pairs)))


def _frames(rng: np.random.Generator, patients) -> list[str]:
    """Two images of every patient, no name twice."""
    return [f"{p}_frame{n}" for p in patients for n in rng.permutation(900)[:2]]


def _listed(patients) -> str | None:
    """A collection of names as one sentence, in order."""
    return None if patients is None else ", ".join(sorted(patients)) or "nobody"


def ex_13_3(answer):
    """The click that landed elsewhere"""

    def case(rng):
        h, w = (int(n) for n in rng.permutation([int(rng.integers(20, 40)), 60]))
        y, x = int(rng.integers(0, h - 8)), int(rng.integers(0, w - 8))
        mask = np.zeros((h, w), bool)
        mask[y : y + 5, x : x + 7] = True
        return mask, 128

    def reference(mask, size):
        return _placed(mask, size)

    return checks.check(
        "13.3",
        answer,
        reference,
        case,
        hint="Two things have an order here, the click and the shape; the width belongs to x.",
        proves="x comes first, and each axis has its own scale. On square images the fault would "
        "not show.",
        mistakes={
            "Each coordinate has its right scale, but a click is (x, y), not (row, column).": (
                lambda mask, size: _placed(mask, size)[::-1]
            ),
            "The order is (x, y) now, but x is divided by the height and y by the width.": (
                lambda mask, size: np.argwhere(mask).mean(0)[::-1] * size / np.array(mask.shape)
            ),
            "Both axes have the same scale in your answer; the image is stretched to a square.": (
                lambda mask, size: np.argwhere(mask).mean(0)[::-1] * size / max(mask.shape)
            ),
            "This is the centre in the image's own pixels; scale it to the square.": (
                lambda mask, size: np.argwhere(mask).mean(0)[::-1]
            ),
        },
    )


def _placed(mask: np.ndarray, size: int) -> np.ndarray:
    """The reference of 13.3: x, y of the centre in the square."""
    (y, x), (h, w) = np.argwhere(mask).mean(0), mask.shape
    return np.array([x * size / w, y * size / h])
