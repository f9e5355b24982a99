"""Read one image or one mask, whatever its format, or say in a sentence what is wrong with it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from naslora_core.errors import UserError

MOST_CLASSES = 64
DEEP = ("I", "F")  # Pillow's modes of more than eight bits a pixel begin so
ORIENTATION = 0x0112  # of EXIF; 1: upright
FEW = 12  # colours or values that a sentence can list


class ColourMask(UserError):
    """A mask in colour; colours: those that it holds, as (R, G, B)."""

    def __init__(self, path: Path, mode: str, colours: list[tuple[int, ...]]):
        self.colours = colours
        super().__init__(
            f"{path} is a mask in colour ({mode}, {len(colours)} colours); expected one channel "
            f"with 0/255 or class numbers 0, 1, 2, ...: {renumber(colours)}."
        )


def renumber(colours: list[tuple[int, ...]]) -> str:
    """The remedy for colours."""
    order = ", ".join(f"{tuple(c)} -> {i}" for i, c in enumerate(colours[:FEW]))
    if len(colours) > FEW:
        return f"give each colour a number ({order}, ...) and save it grey, as PNG"
    return f"give each colour a number, perhaps {order}, and save it grey"


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


def read_mask(path: Path) -> np.ndarray:
    """A mask file as it is, `H W` of numbers; UserError for colours or what does not open."""
    mask = open_picture(path)[0]
    values = np.asarray(mask.convert("L") if mask.mode in ("1", "LA") else mask)
    if values.ndim == 2:
        return values
    colours = values[..., :3]
    if mask.mode not in ("RGB", "RGBA") or (colours != colours[..., :1]).any():
        seen = np.unique(np.asarray(mask.convert("RGB")).reshape(-1, 3), axis=0)
        raise ColourMask(path, mask.mode, [tuple(c) for c in seen.tolist()])
    return values[..., 0]


def check_values(path: Path | str, found: np.ndarray) -> set[int]:
    """The (unique) values of a mask: {0, 255}, or class numbers 0..C; UserError for any others."""
    whole = np.isfinite(found).all() and (found == np.round(found)).all() and found.min() >= 0
    if whole and (found.max() <= MOST_CLASSES or set(found.tolist()) <= {0, 255}):
        return {int(v) for v in found}
    shown = ", ".join(f"{v:g}" for v in found[:6]) + (", ..." if len(found) > 6 else "")
    raise UserError(
        f"{path} holds the {len(found)} value(s) {shown}; expected 0/255, or class numbers "
        f"0..{MOST_CLASSES}: {_remedy(found)}."
    )


def _remedy(found: np.ndarray) -> str:
    if len(found) <= FEW:
        order = ", ".join(f"{v:g} -> {i}" for i, v in enumerate(found))
        return f"renumber its values, perhaps {order}"
    if found.max() <= 255:
        return "if JPEG or resizing blurred a 0/255 mask, threshold it at 128 and save it as PNG"
    return "if these are probabilities or object numbers, threshold them to 0/255"
