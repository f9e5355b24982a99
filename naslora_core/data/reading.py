"""Read one image, whatever its format, or say in a sentence what is wrong with it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from naslora_core.errors import UserError

DEEP = ("I", "F")  # Pillow's modes of more than eight bits a pixel begin so
ORIENTATION = 0x0112  # of EXIF; 1: upright


def open_picture(path: Path) -> tuple[Image.Image, bool]:
    """A picture upright, and whether its EXIF orientation turned it; UserError if it is broken."""
    try:
        with Image.open(path) as file:
            file.load()
            turned = file.getexif().get(ORIENTATION, 1) != 1
            return ImageOps.exif_transpose(file), turned
    except Exception as error:  # on a broken file Pillow raises almost anything
        raise UserError(
            f"{path} does not open as an image ({type(error).__name__}: {error}), expected a "
            "whole picture file; export it again, or remove it together with its partner."
        ) from error


def to_rgb(image: Image.Image) -> np.ndarray:
    """A picture as RGB `H W 3` uint8.

    Grey, palette, RGBA and CMYK are converted; 16 bits and more have their own range (lowest to
    highest finite value) spread over 0..255.
    """
    if image.mode.startswith(DEEP):
        values = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0)
        values -= values.min()
        image = Image.fromarray((values * (255 / max(values.max(), 1e-9)) + 0.5).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def read_image(path: Path) -> np.ndarray:
    """An image file as `to_rgb` has it, upright; UserError for what does not open."""
    return to_rgb(open_picture(path)[0])
