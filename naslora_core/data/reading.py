"""Read one image, whatever its format, or say in a sentence what is wrong with it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from naslora_core.errors import UserError

DEEP = ("I", "F")  # Pillow's modes of more than eight bits a pixel begin so
ORIENTATION = 0x0112  # of EXIF; 1: upright
TURNED = range(2, 9)
BITS = 258  # of TIFF: bits a channel
PNG_BITS = 24  # where a PNG's first chunk has them


def open_picture(path: Path) -> tuple[Image.Image, bool]:
    """A picture upright, and whether its EXIF orientation turned it.

    Raises UserError for a broken file, and for 16-bit colour, which Pillow would truncate.
    """
    try:
        with Image.open(path) as file:
            bits = _bits(file, path)
            turned = file.getexif().get(ORIENTATION) in TURNED  # loading turns a TIFF and forgets
            file.load()
            picture = ImageOps.exif_transpose(file)
    except Exception as error:  # on a broken file Pillow raises almost anything
        raise UserError(
            f"{path} does not open as an image ({type(error).__name__}: {error}), expected a "
            "whole picture file; export it again, or remove it together with its partner."
        ) from error
    if bits > 8 and not picture.mode.startswith(DEEP):
        raise UserError(
            f"{path} is a {bits}-bit picture in colour ({picture.mode}), of which Pillow keeps "
            "only the high byte; expected 8 bits a channel; spread its values over 0..255 and "
            "convert it to 8 bit."
        )
    return picture, turned


def _bits(file: Image.Image, path: Path) -> int:
    """Bits a channel, as a PNG or TIFF says; 8 in all other formats."""
    if file.format == "TIFF":
        return max(file.tag_v2.get(BITS, (1,)))
    if file.format != "PNG":
        return 8
    with path.open("rb") as raw:
        return raw.read(PNG_BITS + 1)[-1]


def to_rgb(image: Image.Image) -> np.ndarray:
    """A picture as RGB `H W 3` uint8.

    Grey, palette, RGBA and CMYK are converted; one channel of 16 bits and more has its own range
    (lowest to highest finite value) spread over 0..255, where no number (nan) is the lowest.
    """
    if image.mode.startswith(DEEP):
        values = np.asarray(image, np.float64)
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low
        image = Image.fromarray((values * (255 / max(high - low, 1e-9)) + 0.5).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def read_image(path: Path) -> np.ndarray:
    """An image file as `to_rgb` has it, upright; UserError for what does not open."""
    return to_rgb(open_picture(path)[0])


def frames(path: Path) -> int:
    """How many pictures a TIFF holds; 1 for all other files, and for what does not open."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return 1
    try:
        with Image.open(path) as file:
            return getattr(file, "n_frames", 1)
    except Exception:  # told by `open_picture`
        return 1
