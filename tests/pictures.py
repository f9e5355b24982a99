"""Small pictures on disk, and a folder's state before and after."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from naslora_core.errors import UserError

SHAPE = (24, 40)


def picture(seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def square(value: int = 255, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[4:12, 6:20] = value
    return mask


def save(path: Path, values, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(path, **options)


def make(root: Path, count: int = 10, value: int = 255) -> Path:
    """A faultless folder: p0.png, p1.png, ..."""
    for i in range(count):
        save(root / "images" / f"p{i}.png", picture(i))
        save(root / "masks" / f"p{i}.png", square(value))
    return root


def contents(root: Path) -> dict[str, str]:
    """Every file's hash, every folder, and their times of change."""
    found = {}
    for path in sorted(root.rglob("*")) if root.is_dir() else []:
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = f"{digest} {path.stat().st_mtime_ns}"
    return found


def every(data) -> dict:
    """The samples of all splits by their names."""
    return {one.name: one for split in (data.train, data.val, data.test) for one in split}


def names(data) -> list[set[str]]:
    return [set(split.keys) for split in (data.train, data.val, data.test)]


def refused(load, file: Path, words: str, root: Path) -> None:
    """Loading says one clear sentence, with `words` and the folder; nothing changes."""
    before = contents(root)
    with pytest.raises(UserError) as caught:
        load(file)
    message = str(caught.value)
    assert re.search(words, message), message
    assert root.name in message and "\n" not in message and message.endswith(".")
    assert contents(root) == before
