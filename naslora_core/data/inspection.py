"""One image and its mask, looked at for everything that a report needs; faults are kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from naslora_core.data.image_io import DEEP, check_values, frames, open_picture, to_rgb
from naslora_core.data.index import Listing, attempt, check_size
from naslora_core.data.near_duplicates import Print, print_of
from naslora_core.data.object_numbers import one_piece
from naslora_core.errors import UserError

MEGAPIXELS = 40
KINDS = {
    "L": "grey",
    "1": "grey",
    "P": "palette",
    "RGBA": "alpha",
    "LA": "alpha",
    "PA": "alpha",
    "CMYK": "cmyk",
}


@dataclass
class Look:
    """size: of the image `H W`, upright; kinds: what is unusual about it (grey, palette, alpha,
    cmyk, deep, turned, frames, mask frames, huge); shares: of the mask's pixels, by value;
    one_piece: as `object_numbers` has it; faults: each with the part (image, mask, size) that it is
    in; seconds: to read both."""

    name: str
    size: tuple[int, int] | None = None
    kinds: set[str] = field(default_factory=set)
    shares: dict[int, float] = field(default_factory=dict)
    one_piece: float | None = None
    print: Print | None = None
    faults: list[tuple[str, UserError]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def foreground(self) -> float:
        """Share of the mask that is not background."""
        return sum(share for value, share in self.shares.items() if value)


def look(listing: Listing, name: str) -> Look:
    """Read an image and its mask once; whatever is wrong with either is in `faults`."""
    one, start = Look(name), time.perf_counter()
    _try(one, "image", _image, listing, one)
    mask = _try(one, "mask", _mask, listing, one)
    if one.size and mask is not None:
        _try(one, "size", check_size, listing, name, one.size, mask.shape)
    one.seconds = time.perf_counter() - start
    return one


def _try(one: Look, part: str, function: Callable, *arguments):
    return attempt(lambda error: one.faults.append((part, error)), function, *arguments)


def _image(listing: Listing, one: Look) -> None:
    path = listing.images[one.name]
    picture, turned = open_picture(path)
    one.size = picture.height, picture.width
    deep = picture.mode.startswith(DEEP)
    kinds = {KINDS.get(picture.mode): True, "deep": deep, "turned": turned}
    kinds["frames"] = frames(path) > 1
    kinds["huge"] = picture.width * picture.height > MEGAPIXELS * 10**6
    one.kinds = {kind for kind, so in kinds.items() if kind and so}
    one.print = print_of(to_rgb(picture))


def _mask(listing: Listing, one: Look) -> np.ndarray:
    values = listing.read(one.name)
    found, counts = _count(values)
    mask = listing.masks[one.name]
    if isinstance(mask, Path) and frames(mask) > 1:
        one.kinds.add("mask frames")
    if not listing.classes:
        check_values(mask, found)
        one.one_piece = one_piece(values)
    one.shares = {int(v): c / values.size for v, c in zip(found, counts, strict=True)}
    return values


def _count(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and how often each is there; np.unique sorts, which takes far longer for bytes."""
    if values.dtype != np.uint8:
        return np.unique(values, return_counts=True)
    counts = np.bincount(values.ravel(), minlength=256)
    return np.flatnonzero(counts), counts[counts > 0]
