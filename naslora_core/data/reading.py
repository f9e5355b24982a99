"""Read one image or one mask, whatever its format, or say in a sentence what is wrong with it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from naslora_core.errors import UserError

MOST_CLASSES = 64
DEEP = ("I", "F")  # Pillow's modes of more than eight bits a pixel begin so


def read_image(path: Path) -> np.ndarray:
    """An image file as RGB `H W 3` uint8, turned upright by its EXIF orientation.

    Grey, palette, RGBA and CMYK are converted; 16 bits and more have their own range (lowest to
    highest finite value) spread over 0..255. Raises UserError for what does not open.
    """
    image = _open(path)
    if image.mode.startswith(DEEP):
        values = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0)
        values -= values.min()
        image = Image.fromarray((values * (255 / max(values.max(), 1e-9)) + 0.5).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def read_mask(path: Path) -> np.ndarray:
    """A mask file as it is, `H W` of numbers; UserError for colours or what does not open."""
    mask = _open(path)
    values = np.asarray(mask.convert("L") if mask.mode in ("1", "LA") else mask)
    if values.ndim == 2:
        return values
    colours = values[..., :3]
    if mask.mode not in ("RGB", "RGBA") or (colours != colours[..., :1]).any():
        count = len(np.unique(colours.reshape(-1, colours.shape[-1]), axis=0))
        raise UserError(
            f"{path} is a mask in colour ({mask.mode}, {count} colours); expected one channel "
            "with 0/255 or class numbers 0, 1, 2, ...: give each colour a number and save it grey."
        )
    return values[..., 0]


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            file.load()
            return ImageOps.exif_transpose(file)
    except Exception as error:  # on a broken file Pillow raises almost anything
        raise UserError(
            f"{path} does not open as an image ({type(error).__name__}: {error}), expected a "
            "whole picture file; export it again, or remove it together with its partner."
        ) from error


def check_values(path: Path, values: np.ndarray) -> set[int]:
    """The values of a mask: {0, 255}, or class numbers 0..C; UserError for any others."""
    found = np.unique(values)
    whole = np.isfinite(found).all() and (found == np.round(found)).all() and found.min() >= 0
    if whole and (found.max() <= MOST_CLASSES or set(found.tolist()) <= {0, 255}):
        return {int(v) for v in found}
    shown = ", ".join(f"{v:g}" for v in found[:6]) + (", ..." if len(found) > 6 else "")
    raise UserError(
        f"{path} holds the {len(found)} value(s) {shown}; expected 0/255, or class numbers "
        f"0..{MOST_CLASSES}: {_remedy(found)}."
    )


def _remedy(found: np.ndarray) -> str:
    if len(found) <= 10:
        order = ", ".join(f"{v:g} -> {i}" for i, v in enumerate(found))
        return f"renumber its values, perhaps {order}"
    if found.max() <= 255:
        return "if JPEG or resizing blurred a 0/255 mask, threshold it at 128 and save it as PNG"
    return "if these are probabilities or object numbers, threshold them to 0/255"
