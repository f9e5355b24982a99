"""Images with label maps, in three splits, read when they are needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

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
