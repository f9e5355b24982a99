"""Read one image, whatever its format, or say in a sentence what is wrong with it.

Read one mask, whatever its format, as numbers, or say in a sentence what is wrong with it.
"""

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


MOST_CLASSES = 64
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


def read_mask(path: Path) -> np.ndarray:
    """A mask file as it is, `H W` of numbers; UserError for colours or what does not open.

    Of a palette, the numbers are read where colour 0 is black, else the greys that it shows.
    """
    mask = open_picture(path)[0]
    kind = mask.mode
    if kind == "P" and not _numbered(mask):
        mask = mask.convert("RGBA")
    if mask.mode in ("LA", "RGBA"):
        _check_alpha(path, np.asarray(mask))
    values = np.asarray(mask.convert("L") if mask.mode in ("1", "LA") else mask)
    if values.ndim == 2:
        return values
    colours = values[..., :3]
    if mask.mode not in ("RGB", "RGBA") or (colours != colours[..., :1]).any():
        seen = np.unique(np.asarray(mask.convert("RGB")).reshape(-1, 3), axis=0)
        raise ColourMask(path, kind, [tuple(c) for c in seen.tolist()])
    return values[..., 0]


def _numbered(mask: Image.Image) -> bool:
    """Whether a palette's numbers are classes: 0 is black, or unused beside colours."""
    palette, used = np.reshape(mask.getpalette("RGB"), (-1, 3)), np.unique(mask)
    if not palette[0].any():
        return True
    shown = palette[used[used < len(palette)]]
    return bool(used[0]) and (shown != shown[:, :1]).any()


def _check_alpha(path: Path, pixels: np.ndarray) -> None:
    """UserError where only the alpha channel tells the object from its surroundings."""
    alpha = pixels[..., -1]
    hidden = (alpha < 255) & pixels[..., :-1].any(-1)
    if hidden.any() and alpha.min() < alpha.max():
        raise UserError(
            f"{path} has pixels that are not black where its alpha channel is {alpha.min()}, so "
            "the mask is in its alpha channel; expected it in grey: flatten it on black and save "
            "it grey."
        )


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
