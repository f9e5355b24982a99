"""A folder of yours: `images/`, `masks/` of the same names, and perhaps `split.json`.

Everything is looked at before anything is returned, and nothing is ever written there.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from naslora_core.data.dataset import Dataset, Sample, Split
from naslora_core.errors import UserError

ENDINGS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
MOST_CLASSES = 64


def folder(path: str | Path, seed: int = 0) -> Dataset:
    """The images of a folder with their masks, split by `split.json` or by a hash of their names.

    Masks hold 0/255 or 0/1 (binary), or class numbers 0..C. Raises UserError, naming the file and
    the remedy, for a missing folder, image or mask, another size, an unreadable file, a mask in
    colour or with unexpected values, and a split that does not fit.
    """
    root = Path(path)
    images, masks = _files(root, "images"), _files(root, "masks")
    lonely = sorted(images.keys() - masks.keys())
    if lonely:
        raise UserError(
            f"{_some(lonely)} in {root / 'images'} without a mask of the same name in "
            f"{root / 'masks'}; add the mask or take the image away."
        )
    top = max(_check(images[i], masks[i]) for i in sorted(images))
    classes = tuple(f"class {c}" for c in range(1, top + 1)) if top > 1 else ("object",)

    def read(name: str) -> Sample:
        return Sample(_image(images[name]), _labels(masks[name], top), name)

    splits = _splits(root, sorted(images), seed)
    return Dataset(root.name, classes, *(Split(read, splits[s]) for s in SHARES))


def _files(root: Path, kind: str) -> dict[str, Path]:
    where = root / kind
    if not where.is_dir():
        raise UserError(
            f"There is no folder {where}; expected {root}/images and {root}/masks with files of "
            "the same names."
        )
    found = {p.stem: p for p in sorted(where.iterdir()) if p.suffix.lower() in ENDINGS}
    if not found:
        raise UserError(
            f"{where} holds no image; expected files ending in {', '.join(sorted(ENDINGS))}."
        )
    return found


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} image(s) ({', '.join(names[:3])}{rest})"


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            file.load()
            return ImageOps.exif_transpose(file)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{path} does not open as an image ({error}); replace or remove it."
        ) from error


def _image(path: Path) -> np.ndarray:
    image = _open(path)
    if image.mode.startswith(("I", "F")):  # 16 bits and more: its own range onto 0..255
        values = np.asarray(image, np.float32)
        span = max(float(values.max() - values.min()), 1e-9)
        image = Image.fromarray(((values - values.min()) / span * 255).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def _raw_mask(path: Path) -> np.ndarray:
    mask = _open(path)
    values = np.asarray(mask.convert("L") if mask.mode == "1" else mask)
    if values.ndim == 3:
        colours = values[..., :3]
        if (colours != colours[..., :1]).any():
            raise UserError(
                f"{path} is a mask in colour; expected one channel with 0/255 or class numbers "
                "0, 1, 2, ...: map each colour to its number and save it as grey."
            )
        values = values[..., 0]
    return values


def _check(image: Path, mask: Path) -> int:
    """The highest class of one pair, after everything that can be wrong with it was looked at."""
    size, values = _image(image).shape[:2], _raw_mask(mask)
    if values.shape != size:
        raise UserError(
            f"{mask} is {values.shape[1]}x{values.shape[0]} pixels, its image {image.name} "
            f"{size[1]}x{size[0]}; save the mask at the image's size (nearest neighbour)."
        )
    found = np.unique(values)
    if set(found.tolist()) <= {0, 1, 255} and not {1, 255} <= set(found.tolist()):
        return 1
    if found.max() > MOST_CLASSES:
        raise UserError(
            f"{mask} holds the values {found[:6].tolist()}...; expected 0/255, or class numbers "
            f"0..{MOST_CLASSES}: threshold it (a JPEG mask blurs 0/255), or renumber the classes."
        )
    return int(found.max())


def _labels(path: Path, top: int) -> np.ndarray:
    values = _raw_mask(path)
    return (values > 0).astype(np.uint8) if top == 1 else values.astype(np.uint8)


def _splits(root: Path, names: list[str], seed: int) -> dict[str, list[str]]:
    file = root / "split.json"
    if file.exists():
        return _read_split(file, set(names))
    position = {n: int(hashlib.sha256(f"{seed}/{n}".encode()).hexdigest()[:8], 16) for n in names}
    order = sorted(names, key=position.get)
    first = round(len(order) * SHARES["train"])
    second = first + max(1, round(len(order) * SHARES["val"]))
    splits = {"train": order[:first], "val": order[first:second], "test": order[second:]}
    if not all(splits.values()):
        raise UserError(
            f"{root} has {len(names)} image(s), too few for train, val and test; add images (5 at "
            "least), or name the splits in split.json."
        )
    return splits


def _read_split(file: Path, names: set[str]) -> dict[str, list[str]]:
    try:
        found = json.loads(file.read_text())
        splits = {s: [str(n) for n in found[s]] for s in SHARES}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f'{file} is not of the form {{"train": [...], "val": [...], "test": [...]}} '
            f"({error!r}); mend it or delete it."
        ) from error
    for split, ids in splits.items():
        unknown = sorted(set(ids) - names)
        if unknown or not ids:
            what = f"names {_some(unknown)} that do not exist" if unknown else "is empty"
            raise UserError(f"{file}: {split} {what}; every id is a file name without its ending.")
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = sorted(set(splits[a]) & set(splits[b]))
        if shared:
            raise UserError(f"{file}: {_some(shared)} both in {a} and {b}; keep each in one split.")
    return splits
