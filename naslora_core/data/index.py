"""Images with label maps, in three splits, read when they are needed.

The names of images: text that every system reads, as short as they can be told apart.

What a folder, a table or a COCO file lists: images, masks and splits, and a dataset of it.

Data of yours by its path: a folder, a .csv or a .json.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from naslora_core.data.image_io import check_values, read_image
from naslora_core.data.names import first
from naslora_core.data.splits import SHARES
from naslora_core.errors import UserError

DOMAINS: dict[str, Callable[..., "Dataset"]] = {}  # makers by name; the workbook enters its own


@dataclass(frozen=True)
class Sample:
    """image: uint8 `H W 3`, RGB; mask: uint8 `H W`, 0 is background, 1..C the classes; name."""

    image: np.ndarray
    mask: np.ndarray
    name: str


KEEP = 2**29  # bytes of samples a split keeps in memory; what is beyond is read again


class Split(Sequence):
    """A sequence of samples, each made by `read(key)` when asked for, and kept up to KEEP bytes."""

    def __init__(self, read: Callable[[object], Sample], keys: Sequence):
        self.read, self.keys = read, tuple(keys)
        self._kept: dict[int, Sample] = {}
        self._room = KEEP

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int | slice) -> "Sample | Split":
        if isinstance(index, slice):
            return Split(self.read, self.keys[index])
        index = range(len(self))[index]  # negative indices, and IndexError beyond the end
        if index in self._kept:
            return self._kept[index]
        sample = self.read(self.keys[index])
        size = sample.image.nbytes + sample.mask.nbytes
        if size <= self._room:
            self._room -= size
            self._kept[index] = sample
        return sample


@dataclass(frozen=True)
class Dataset:
    """A name, the names of the foreground classes (one: binary), and the three splits."""

    name: str
    classes: tuple[str, ...]
    train: Sequence[Sample]
    val: Sequence[Sample]
    test: Sequence[Sample]

    def __repr__(self) -> str:
        sizes = f"{len(self.train)}/{len(self.val)}/{len(self.test)}"
        return f"Dataset({self.name}: {', '.join(self.classes)}; train/val/test {sizes})"


Tell = Callable[[UserError], None]


@dataclass(frozen=True)
class Listing:
    """images: the file of each name; masks: how a message names its mask; read: its values `H W`;
    splits: names, in none where a fault was told; where: all masks, as a message names them;
    mend: what to do about a mask of another size; classes: their names, or none where masks say it;
    notes: sentences that every reader is told; unused: those on files that are left alone.
    """

    name: str
    images: Mapping[str, Path]
    masks: Mapping[str, Path | str]
    read: Callable[[str], np.ndarray]
    splits: Mapping[str, list[str]]
    where: Path | str
    mend: str = "save the mask at the image's size (nearest neighbour)"
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def stop(error: UserError) -> None:
    """Tell of a fault by raising it; `check` gathers them instead."""
    raise error


def attempt(tell: Tell, function: Callable, *arguments):
    """What the function returns; None once its fault was told."""
    try:
        return function(*arguments)
    except UserError as error:
        tell(error)


def keep(splits: Mapping[str, list[str]] | None, names) -> dict[str, list[str]]:
    """The splits with these names only; empty ones where there are no splits."""
    return {s: [n for n in (splits or {}).get(s, []) if n in names] for s in SHARES}


def to_dataset(listing: Listing) -> Dataset:
    """Look at every image and mask, then give them as samples; its notes become warnings.

    Raises UserError for the first fault.
    """
    for note in listing.notes:
        warnings.warn(note, stacklevel=3)
    found = {name: _check_pair(listing, name) for name in sorted(listing.images)}
    classes = listing.classes or class_names(listing, found)
    for note in [] if listing.classes else nowhere(classes, set().union(*found.values())):
        warnings.warn(note, stacklevel=3)

    def read(name: str) -> Sample:
        values = listing.read(name)
        mask = (values > 0) if len(classes) == 1 else values
        return Sample(read_image(listing.images[name]), mask.astype(np.uint8), name)

    return Dataset(listing.name, classes, *(Split(read, listing.splits[s]) for s in SHARES))


def _check_pair(listing: Listing, name: str) -> set[int]:
    size, values = read_image(listing.images[name]).shape[:2], listing.read(name)
    check_size(listing, name, size, values.shape)
    return set() if listing.classes else check_values(listing.masks[name], np.unique(values))


def check_size(listing: Listing, name: str, size: tuple[int, ...], mask: tuple[int, ...]) -> None:
    """UserError where the mask's shape is not the image's."""
    if mask == size:
        return
    turned = " (turned upright by its EXIF orientation)" if mask == size[::-1] else ""
    raise UserError(
        f"{listing.masks[name]} is {mask[1]}x{mask[0]} pixels, its image "
        f"{listing.images[name].name} {size[1]}x{size[0]}{turned}; expected the same; "
        f"{listing.mend}."
    )


def nowhere(classes: tuple[str, ...], numbers: set[int]) -> list[str]:
    """A sentence on classes whose number no mask holds, as of colours saved for classes."""
    absent = [name for number, name in enumerate(classes, 1) if number not in numbers]
    if not absent or len(classes) == 1:
        return []
    return [
        f"{len(absent)} of {len(classes)} classes occur nowhere: {first(absent)}; if their numbers "
        "mean no class, renumber the masks from 1 without gaps."
    ]


def class_names(listing: Listing, found: Mapping[str, set[int]]) -> tuple[str, ...]:
    """One for binary masks, else one for each number up to the highest of all masks."""
    every = set().union(*found.values())
    if every == {0}:
        raise UserError(
            f"Every mask in {listing.where} is empty (only the value 0); expected foreground as "
            "255 or as class numbers from 1; export the masks again."
        )
    if every <= {0, 1, 255}:
        return ("object",)
    odd = next((name for name, values in found.items() if 255 in values), None)
    if odd:
        top = max(every - {255})
        raise UserError(
            f"{listing.masks[odd]} holds 255, other masks class numbers up to {top}; expected "
            f"0..{top} in all of them; give its foreground the number of its class."
        )
    return tuple(f"class {c}" for c in range(1, max(every) + 1))
