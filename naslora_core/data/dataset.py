"""Images with their masks, in three splits, read when they are needed."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from naslora_core.data.listing import alike, spelling
from naslora_core.errors import fault

IGNORE = 255  # in a mask: a pixel that no loss and no score counts
KEEP = 2**29  # bytes of samples that a split keeps in memory; what is beyond is read again


@dataclass(frozen=True)
class Sample:
    """image: uint8 `H W 3`, RGB; mask: uint8 `H W`, 0 is background, 1..C the classes, IGNORE;
    name: of the image."""

    image: np.ndarray
    mask: np.ndarray
    name: str


class Split(Sequence):
    """A sequence of samples, each made by `read(key)` when asked for, and kept up to KEEP bytes;
    digests: of samples by key, where they are known without reading them again."""

    def __init__(self, read: Callable[[object], Sample], keys: Sequence, digests=None):
        self.read, self.keys, self.digests = read, tuple(keys), digests or {}
        self._kept, self._room = {}, KEEP

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int | slice) -> "Sample | Split":
        if isinstance(index, slice):
            return Split(self._sample, self.keys[index], self.digests)
        return self._sample(self.keys[index])

    def _sample(self, key) -> Sample:
        if key in self._kept:
            return self._kept[key]
        sample = self.read(key)
        if (size := sample.image.nbytes + sample.mask.nbytes) <= self._room:
            self._room -= size
            self._kept[key] = sample
        return sample


@dataclass(frozen=True)
class Dataset:
    """A name, the names of the foreground classes (one: binary), and the three splits.

    notes: sentences on what is unusual about the data and stops no training.
    """

    name: str
    classes: tuple[str, ...]
    train: Sequence[Sample]
    val: Sequence[Sample]
    test: Sequence[Sample]
    notes: tuple[str, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        sizes = f"{len(self.train)}/{len(self.val)}/{len(self.test)}"
        head = f"Dataset({self.name}: {', '.join(self.classes)}; train/val/test {sizes})"
        return "\n".join([head, *(f"  note: {note}" for note in self.notes)])


def match_classes(
    of_model: Sequence[str], of_data: Sequence[str], name: str = "data"
) -> tuple[int, ...]:
    """The model's number (from 1) of each class of the data: by name, or in another spelling where
    one alone of the model's is spelt so.

    Names that say nothing ("object", "class 3"), as those of masks without names, match by number.
    Raises UserError for a class of the data that the model was not trained on, and for two that
    would be one.
    """
    numbered = [
        all(c == "object" or c.removeprefix("class ").isdigit() for c in map(spelling, names))
        for names in (of_model, of_data)
    ]
    own, spelt = {name: i for i, name in enumerate(of_model, 1)}, alike(of_model)
    found = [own.get(c) or own.get(spelt.get(spelling(c))) for c in of_data]
    if any(numbered):
        fits = len(of_data) == len(of_model) or 1 < len(of_data) < len(of_model)
        found = [*range(1, len(of_data) + 1)] if fits else [None] * len(of_data)
    if lost := [c for c, n in zip(of_data, found, strict=True) if not n or found.count(n) > 1]:
        given = f"has the class(es) {', '.join(lost)}, the model draws {', '.join(of_model)}"
        raise fault(name, given, "those alone", f"rename the others, or fit a model on {name}")
    return tuple(found)


def with_classes(data: Dataset, names: Sequence[str]) -> Dataset:
    """The data with masks numbered as a model of these names has them; see `match_classes`."""
    numbers = match_classes(names, data.classes, data.name)
    table = np.arange(256, dtype=np.uint8)
    table[1 : len(numbers) + 1] = numbers

    def renumbered(samples: Sequence[Sample]) -> Split:
        if not isinstance(samples, Split):
            samples = Split(samples.__getitem__, range(len(samples)))

        def changed(key) -> Sample:
            sample = samples.read(key)
            return replace(sample, mask=table[sample.mask])

        return Split(changed, samples.keys)

    splits = {split: renumbered(getattr(data, split)) for split in ("train", "val", "test")}
    return replace(data, classes=tuple(names), **splits)


def check_sample(sample: Sample) -> None:
    """UserError with one sentence where something is no Sample as its docstring has it."""
    if not all(hasattr(sample, part) for part in ("image", "mask", "name")):
        given, remedy = "is no sample", "make one, with a mask of zeros where there is none"
        raise fault(f"A {type(sample).__name__}", given, "Sample(image, mask, name)", remedy)
    for part, axes, wanted in (("image", 3, "`H W 3` in 0..255"), ("mask", 2, "`H W` of classes")):
        values = getattr(sample, part)
        given, good = f"is a {type(values).__name__}", False
        if hasattr(values, "dtype"):
            values = np.asarray(values)
            given = f"is {values.dtype} `{' '.join(map(str, values.shape))}`"
            good = values.dtype == np.uint8 and values.ndim == axes and values.size
        if not good or values.shape[2:] not in ((), (3,)):
            where, remedy = (
                f"The {part} of {sample.name}",
                "convert it (np.asarray)",
            )
            raise fault(where, given, f"an array, uint8 {wanted}", remedy)
    size, own = sample.image.shape[:2], sample.mask.shape
    if size != own:
        given = f"is {own[1]}x{own[0]} pixels, its image {size[1]}x{size[0]}"
        raise fault(f"The mask of {sample.name}", given, "one size", "save it at the image's size")


def require_samples(samples: Sequence[Sample], least: int = 0) -> None:
    """UserError for what is no sequence, or a shorter one."""
    if not hasattr(samples, "__len__") or len(samples) < least:
        given = "is empty" if hasattr(samples, "__len__") else "is no sequence"
        raise fault(f"A {type(samples).__name__}", given, "samples", "give a list, or data.test")


def check_samples(samples: Iterable[Sample], classes: int) -> None:
    """UserError for samples made in Python that are not as documented; a Split checks its own."""
    if isinstance(samples, Split):
        return
    beside, alone = [], []
    for sample in samples:
        check_sample(sample)
        values = np.unique(sample.mask)
        numbers = values[(values > 0) & (values != IGNORE)]
        if numbers.size and numbers[-1] > classes:
            given, remedy = f"holds {numbers[-1]}", "renumber it, or name more classes"
            raise fault(
                f"The mask of {sample.name}", given, f"0..{classes}, or {IGNORE} to ignore", remedy
            )
        if values[-1] == IGNORE:
            (beside if numbers.size else alone).append(sample.name)
    if len(alone) > len(beside):
        given = f"holds {IGNORE} and no class number, which would ignore its object"
        where, remedy = f"The mask of {alone[0]}", "divide a 0/255 mask by 255"
        raise fault(where, given, f"class numbers 1..{classes}", remedy)


def digest_of(name: str, image: np.ndarray, mask: np.ndarray) -> str:
    """Twelve hex digits over the name, image and mask of one sample."""
    digest = hashlib.sha256(repr((name, image.shape)).encode())
    for part in (image, mask):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:12]


def content(*splits: Sequence[Sample]) -> str:
    """Twelve hex digits over names, images and masks of the splits.

    No sample is read whose digest is known. Of drawn domains the keys and the size stand for the
    pictures, whose last bit may be another on another processor.
    """
    digest = hashlib.sha256()
    for split in splits:
        digest.update(f"{len(split)} samples".encode())
        keys = getattr(split, "keys", ())
        if keys and not any(isinstance(key, str) for key in keys):  # drawn from its keys
            digest.update(repr((keys, split[0].image.shape)).encode())
            continue
        known = getattr(split, "digests", {})
        for i, key in enumerate(keys or range(len(split))):
            one = known.get(key) or digest_of(split[i].name, split[i].image, split[i].mask)
            digest.update(one.encode())
    return digest.hexdigest()[:12]
