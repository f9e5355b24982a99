"""Masks whose numbers count objects (1, 2, 3, ... cells) are no masks of classes."""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from naslora_core.data.image_io import MOST_CLASSES

FEW_CLASSES = 8  # up to so many, numbers are taken for classes
NEARLY = 0.9  # of the numbers of a mask, and of the masks
TOUCHING = np.ones((3, 3))  # pixels that touch at a corner are one piece


def one_piece(values: np.ndarray) -> float | None:
    """Share of a mask's numbers (from 1) that are one connected piece each.

    None for a mask with fewer than two: it could be either.
    """
    if values.max() > MOST_CLASSES:
        return None
    boxes = enumerate(ndimage.find_objects(values.astype(np.int32)), 1)
    pieces = [ndimage.label(values[box] == n, TOUCHING)[1] for n, box in boxes if box]
    return float(np.mean(np.equal(pieces, 1))) if len(pieces) > 1 else None


def count_objects(shares: Iterable[float | None], classes: int) -> bool:
    """Whether masks of so many classes, with these shares of `one_piece`, look like objects'."""
    known = [share >= NEARLY for share in shares if share is not None]
    return classes > FEW_CLASSES and bool(known) and float(np.mean(known)) >= NEARLY
