"""Pieces of images that are larger than the model's input: drawn to train, blended to predict.

A tile is a square of `side` pixels of the image; at `side` equal to the model's input nothing is
resized. Where an image is smaller than a tile, the tile is padded at the right and bottom with
SAM's mean colour. To predict, tiles overlap by a quarter of their side, and their logits are
averaged with weights that fall smoothly to the border of each tile.
"""

from collections.abc import Sequence

import numpy as np

from naslora_core.data.dataset import IGNORE, Sample
from naslora_core.errors import number

OVERLAP = 0.25  # of a tile's side, shared with the next one
OBJECTS = 0.5  # share of training tiles that hold an object, where the image has one
MEAN = (124, 116, 104)  # SAM's mean colour, rounded
SIDES = (16, 8192)  # pixels, the smallest and the largest tile
FLOOR = 1e-3  # least weight: a border of the image has one tile alone


def checked_side(side: int | None) -> int | None:
    """The side of a tile, None for whole images; UserError for what is no side in pixels."""
    return side if side is None else number("tile", side, *SIDES)


def draw_tile(sample: Sample, side: int, key: Sequence[int], objects: float = OBJECTS) -> Sample:
    """A tile `side side` of a sample, at the image's own scale.

    key: integers, e.g. (seed, step, index), that alone decide where. With the probability
    `objects` it holds a pixel of some object, drawn evenly over classes and then over their pixels.
    """
    rng = np.random.default_rng((*key, 2))  # apart from the draws of `transforms`
    shape = sample.mask.shape
    top, left = (int(rng.integers(max(1, n - side + 1))) for n in shape)
    held = np.unique(sample.mask)
    held = held[(held > 0) & (held != IGNORE)]
    if rng.random() < objects and len(held):
        where = np.flatnonzero(sample.mask == rng.choice(held))
        pixel = divmod(int(rng.choice(where)), shape[1])
        shift = rng.integers(side, size=2)
        pairs = zip(pixel, shift, shape, strict=True)
        top, left = (int(np.clip(p - s, 0, max(0, n - side))) for p, s, n in pairs)
    image, mask = (piece(x, top, left, side) for x in (sample.image, sample.mask))
    return Sample(image, mask, sample.name)


def piece(array: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """`side side` (and channels) of an image or a mask from a corner on, padded where it ends."""
    found = array[top : top + side, left : left + side]
    high, wide = found.shape[:2]
    if (high, wide) == (side, side):
        return np.ascontiguousarray(found)
    whole = np.zeros((side, side, *array.shape[2:]), array.dtype)
    whole[:] = MEAN if array.ndim == 3 else 0
    whole[:high, :wide] = found
    return whole


def starts(length: int, side: int) -> list[int]:
    """Where tiles begin along `length` pixels: evenly, to the end, sharing OVERLAP or more."""
    if length <= side:
        return [0]
    count = 1 + -(-(length - side) // max(1, int(side * (1 - OVERLAP))))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def weights(side: int) -> np.ndarray:
    """How much each pixel along a tile counts, `side`: 1 in the middle, falling as a cosine over
    the overlap to nearly 0 at both ends."""
    ramp = max(1, int(side * OVERLAP))
    place = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / ramp
    return np.maximum(0.5 - 0.5 * np.cos(np.pi * np.minimum(place, 1)), FLOOR).astype(np.float32)


def shares(length: int, side: int) -> np.ndarray:
    """What each tile along an axis contributes to each pixel, `tiles length`; columns sum to 1.

    In two dimensions a tile's share of a pixel is the product of its two shares.
    """
    begin, w = starts(length, side), weights(side)
    table = np.zeros((len(begin), length), np.float32)
    for row, start in zip(table, begin, strict=True):
        row[start : start + side] = w[: length - start]
    return table / table.sum(0)
