"""COCO's polygons and RLE as a label map."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from naslora_core.errors import UserError

SLACK = 1  # pixels that a polygon may lie outside: annotation tools round


def need_pycocotools() -> None:
    """UserError with pip's command where pycocotools is missing."""
    if find_spec("pycocotools") is None:
        raise UserError(
            "pycocotools is not installed; expected it for COCO files; run: "
            "python -m pip install pycocotools."
        )


def draw(file: Path, image: dict, objects: list[dict], numbers: dict[int, int]) -> np.ndarray:
    """The label map `H W` uint8 of one image: later objects over earlier ones, 0 is background.

    Raises UserError, naming the annotation, for a shape that is malformed or outside the image.
    """
    labels = np.zeros((image["height"], image["width"]), np.uint8)
    for entry in objects:
        labels[_pixels(file, entry, *labels.shape)] = numbers[entry["category_id"]]
    return labels


def _pixels(file: Path, entry: dict, height: int, width: int) -> np.ndarray:
    """One object, `H W` bool."""
    shape, name = entry["segmentation"], f"{file}: {entry['name']}"
    if isinstance(shape, dict):
        runs = _checked_runs(name, shape, height, width)
        # down the columns, background first
        return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width, order="F")
    from pycocotools import mask

    _check_polygons(name, shape, height, width)
    return mask.decode(mask.merge(mask.frPyObjects(shape, height, width))).astype(bool)


def _check_polygons(name: str, polygons: list, height: int, width: int) -> None:
    for points in polygons or [[]]:
        numbers = points if isinstance(points, list) else []
        if len(numbers) < 6 or len(numbers) % 2 or not all(map(_finite, numbers)):
            raise UserError(
                f"{name} has a malformed polygon ({points!r:.40}); expected lists of x, y, x, y, "
                "... of three points or more; draw it again or remove it."
            )
        places = np.reshape(numbers, (-1, 2))
        low, high = places.min(0), places.max(0)
        if (high <= 1).all() and min(height, width) > 2:
            raise UserError(
                f"{name} has a polygon between {low.min():g} and {high.max():g}; expected pixels, "
                f"not shares of {width}x{height}; multiply x by the width and y by the height."
            )
        if (low < -SLACK).any() or (high > (width + SLACK, height + SLACK)).any():
            raise UserError(
                f"{name} reaches from ({low[0]:g}, {low[1]:g}) to ({high[0]:g}, {high[1]:g}), "
                f"outside its image of {width}x{height} pixels; expected all points inside; clip "
                "it, or correct the image's width and height."
            )


def _finite(value) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _checked_runs(name: str, shape: dict, height: int, width: int) -> list[int]:
    """The lengths of the runs, once they fill the image (pycocotools itself writes beyond it)."""
    if shape.get("size") != [height, width]:
        raise UserError(
            f"{name} is an RLE of size {shape.get('size')!r}; expected [{height}, {width}], the "
            "height and width of its image; correct one of them."
        )
    counts = shape.get("counts")
    runs = unpack(counts) if isinstance(counts, str) else counts
    good = isinstance(runs, list) and all(isinstance(run, int) and run >= 0 for run in runs)
    if not good or sum(runs) != height * width:
        raise UserError(
            f"{name} has a malformed RLE ({counts!r:.40}); expected runs that fill "
            f"{width}x{height} pixels; encode it again."
        )
    return runs


def unpack(counts: str) -> list[int] | None:
    """The runs of COCO's compressed counts; None for what is none.

    A character is 48 and six bits: five of a number, the lowest first, and 32 if more follow. A
    number whose last has 16 is negative. From the fourth on, it is added to the run two before.
    """
    runs, number, shift = [], 0, 0
    for bits in (ord(character) - 48 for character in counts):
        if not 0 <= bits < 64:
            return None
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (1 << shift) if bits & 16 else 0
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    return None if shift else runs
