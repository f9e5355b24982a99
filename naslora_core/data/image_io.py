"""Read one image file, whatever its format, or say in a sentence what is wrong with it."""

import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from naslora_core.errors import UserError, fault
from naslora_core.files import not_read

STRIP = 2048  # rows of a picture that are converted at once
ENDINGS = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm"
)  # fmt: skip
DEEP = ("I", "F")  # Pillow's modes of more than eight bits a pixel begin so
ORIENTATION = 0x0112  # of EXIF; 1: upright
TURNED = range(2, 9)
BANDS, BITS, KIND, NODATA = 277, 258, 339, 42113  # of TIFF
NUMBERS = {1: "unsigned", 2: "signed", 3: "float"}  # of KIND
HEAD = 4096  # bytes of a file in which its format says what Pillow does not tell
PNG_BITS = 24  # where a PNG's first chunk has them


@dataclass(frozen=True)
class Picture:
    """image: upright; deep: of more than eight bits a pixel; turned: by its EXIF orientation;
    frames: pictures in the file; lossy: whether compression may change values; nodata: the value of
    pixels without data."""

    image: Image.Image
    deep: bool
    turned: bool
    frames: int
    lossy: bool
    nodata: float | None


def open_picture(path: Path) -> Picture:
    """One picture file, decoded once.

    Raises UserError for another ending, a broken file, one that is too large, and for bands and
    16-bit colours that Pillow would lose.
    """
    if path.suffix.lower() not in ENDINGS:
        raise fault(path, "is no picture that is read", ", ".join(ENDINGS), "convert it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _open(path)
    except UserError:
        raise
    except PermissionError as error:
        raise not_read(path, error) from error
    except Exception as error:  # on a broken file Pillow raises almost anything
        raise _unreadable(path, error) from error


def _open(path: Path) -> Picture:
    with Image.open(path) as file, path.open("rb") as raw:
        head, tags = raw.read(HEAD), getattr(file, "tag_v2", {})
        bits = head[PNG_BITS] if file.format == "PNG" else max(tags.get(BITS, (8,)))
        lossy = file.format in ("JPEG", "MPO") or file.info.get("compression") == "jpeg"
        lossy |= file.format == "WEBP" and b"VP8L" not in head
        turned = file.getexif().get(ORIENTATION) in TURNED  # loading turns a TIFF and forgets
        frames = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)
        file.seek(0)
        file.load()
        image = ImageOps.exif_transpose(file) if turned else file
    deep = image.mode.startswith(DEEP)
    if bits > 8 and not deep:
        given = f"is a {bits}-bit picture in colour ({image.mode}): Pillow keeps the high byte"
        remedy = "spread its values over 0..255 and save it with 8 bits"
        raise fault(path, given, "8 bits a channel", remedy)
    nodata = None
    with suppress(ValueError):
        nodata = float(str(tags.get(NODATA)).strip("\0 "))
    return Picture(image, deep, turned, frames, lossy, nodata)


def _unreadable(path: Path, error: Exception) -> UserError:
    """The sentence on a file that Pillow did not open: too large, of other bands, or broken."""
    kind = type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        pixels = int(re.search(r"\d+", str(error))[0]) / 1e6
        expected = f"{2 * Image.MAX_IMAGE_PIXELS / 1e6:.3g} or fewer in one piece"
        remedy = "read it in tiles (--tile SIDE), or save it smaller"
        return fault(path, f"has {pixels:.3g} megapixels ({kind})", expected, remedy)
    if isinstance(error, UnidentifiedImageError) and (bands := _bands(path)):
        given = f"does not open as an image: it is whole, but has {bands}"
        expected = "grey, RGB or RGBA (the fourth marked as alpha) of 8 bits, or grey of 16 or 32"
        remedy = "choose the bands to show, spread them over 0..255 and save them as RGB"
        return fault(path, given, expected, remedy)
    remedy = "export it again, or remove it together with its partner"
    given = f"does not open as an image ({kind}: {error})"
    return fault(path, given, "a whole picture file", remedy)


def _bands(path: Path) -> str:
    """The bands of a TIFF that Pillow does not know, as its tags have them; "" for no TIFF."""
    try:
        with path.open("rb") as raw:
            tags = TiffImagePlugin.ImageFileDirectory_v2(raw.read(8))
            raw.seek(tags.next)
            tags.load(raw)
        kind, bits = NUMBERS.get(tags.get(KIND, (1,))[0], "other"), max(tags.get(BITS, (1,)))
        return f"{tags.get(BANDS, 1)} band(s) of {bits} bits ({kind})"
    except Exception:  # no TIFF, or none that is whole
        return ""


def spread(picture: Picture) -> tuple[np.ndarray, bool]:
    """A picture as RGB `H W 3` uint8, and whether a value that means "no data" was left aside.

    Grey, palette, RGBA and CMYK are converted; one channel of 16 bits and more has its own range
    (lowest to highest value of its data) spread over 0..255. Pixels without data become 0.
    """
    image, left = picture.image, False
    if "transparency" in image.info:
        image = image.convert("RGBA")  # or Pillow warns
    if picture.deep:
        values = np.asarray(image, np.float64)
        data = values[np.isfinite(values) & (values != picture.nodata)]
        low, high = data_range(data)
        left = bool(data.size) and (values.min(), values.max()) != (low, high)
        empty = ~(values >= low) | (values == picture.nodata)  # nan is not above low
        shares = (np.clip(np.nan_to_num(values), low, high) - low) / max(high - low, 1e-9)
        image = Image.fromarray((np.where(empty, 0, shares) * 255 + 0.5).astype(np.uint8))
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, STRIP):  # of a large picture no third copy is made
        part = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        rgb[top : top + STRIP] = np.asarray(part.convert("RGB"))
    return rgb, left


def allow_large_pictures(tile: int | None) -> None:
    """Let this process read pictures beyond Pillow's limit, for a model that takes tiles of them. A
    picture is held whole: 4 bytes a pixel in Pillow, and 3 as an array."""
    if tile:
        Image.MAX_IMAGE_PIXELS = None


def data_range(data: np.ndarray) -> tuple[float, float]:
    """Lowest and highest of some values, without those that mean "no data" (-9999, -3.4e38).

    Such a value lies farther from its neighbour than all the others from each other.
    """
    if not data.size:
        return 0.0, 0.0
    low, high = float(data.min()), float(data.max())
    while True:
        inner = data[(data > low) & (data < high)]
        if not inner.size or inner.min() == inner.max():
            return low, high
        if inner.min() - low > high - inner.min():
            low = float(inner.min())
        elif high - inner.max() > inner.max() - low:
            high = float(inner.max())
        else:
            return low, high


def read_image(path: Path) -> np.ndarray:
    """An image file as RGB `H W 3` uint8, upright; UserError for what does not open."""
    return spread(open_picture(path))[0]
