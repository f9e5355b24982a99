"""What a run is made of: a digest that tells sets of one name apart, and corrected masks."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from naslora_core.data import Sample


def content(*splits: Sequence[Sample]) -> str:
    """Twelve hex digits over names, images and masks of the splits, every sample read once.

    Of drawn domains the keys and the size stand for the pictures, whose last bit may be another on
    another processor.
    """
    digest = hashlib.sha256()
    for split in splits:
        digest.update(f"{len(split)} samples".encode())
        for part in _drawn(split) if _is_drawn(split) else _read(split):
            digest.update(part)
    return digest.hexdigest()[:12]


def _is_drawn(split: Sequence[Sample]) -> bool:
    """Whether samples follow from their keys alone: those of files have names as keys."""
    keys = getattr(split, "keys", ())
    return bool(keys) and not any(isinstance(key, str) for key in keys)


def _drawn(split) -> Iterator[bytes]:
    yield repr((split.keys, split[0].image.shape)).encode()


def _read(split: Sequence[Sample]) -> Iterator[bytes]:
    for i in range(len(split)):
        sample = split[i]
        yield repr((sample.name, sample.image.shape)).encode()
        yield from (np.ascontiguousarray(part).data for part in (sample.image, sample.mask))
