"""Small pictures on disk, and a folder's state before and after."""

import csv
import hashlib
import json
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


def rows(count: int = 10, **more) -> list[dict[str, str]]:
    """The rows of a faultless table; more: a column's value for each number."""
    return [
        {"image": f"images/p{i}.png", "label": f"masks/p{i}.png"}
        | {column: str(value(i)) for column, value in more.items()}
        for i in range(count)
    ]


def write_table(root: Path, table: list[dict[str, str]]) -> Path:
    with (root / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return root / "table.csv"


BOX = [6, 4, 20, 4, 20, 12, 6, 12]  # of `square`


def instances(count: int = 10) -> dict:
    """A faultless COCO json: one box in every image, of category 7."""
    sides = {"height": SHAPE[0], "width": SHAPE[1]}
    images = [{"id": 100 + i, "file_name": f"p{i}.png"} | sides for i in range(count)]
    return {
        "images": images,
        "annotations": [annotation(i, 100 + i) for i in range(count)],
        "categories": [{"id": 9, "name": "weed"}, {"id": 7, "name": "crop"}],
    }


def annotation(number: int, image: int = 100, category: int = 7, shape=(BOX,), **more) -> dict:
    keys = {"id": number, "image_id": image, "category_id": category}
    return keys | {"segmentation": list(shape) if isinstance(shape, tuple) else shape} | more


def box(left: int, top: int, right: int, bottom: int) -> tuple:
    return ([left, top, right, top, right, bottom, left, bottom],)


def write_coco(root: Path, data) -> Path:
    file = root / "instances.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    return file


def refused(load, given, *named: str) -> str:
    """Loading raises one sentence that names these files or parameters."""
    with pytest.raises(UserError) as caught:
        load(given)
    message = str(caught.value)
    assert all(word in message for word in named), message
    assert "\n" not in message and message.endswith(".")
    return message
