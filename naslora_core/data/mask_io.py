"""One mask file as numbers, or a sentence on what is wrong with it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from naslora_core.data.dataset import IGNORE
from naslora_core.data.image_io import open_picture
from naslora_core.errors import UserError, fault

MOST_CLASSES = 64
FEW = 12  # colours or values that a sentence can list
TOUCHING = np.ones((3, 3))  # pixels that touch at a corner are one piece


def read_mask(path: Path) -> np.ndarray:
    """The numbers `H W` of a mask file.

    Of a palette, the numbers are read where colour 0 is black, else the greys that it shows.
    Raises UserError for colours, for a mask in the alpha channel, for several pictures in one file,
    for values that a lossy format has changed, and for what does not open.
    """
    picture = open_picture(path)
    mask, kind = picture.image, picture.image.mode
    if picture.frames > 1:
        raise fault(path, f"holds {picture.frames} pictures", "one mask", "save its masks as one")
    if kind == "P" and not _numbered(mask):
        mask = mask.convert("RGBA")
    if mask.mode in ("LA", "RGBA"):
        _check_alpha(path, np.asarray(mask))
    values = np.asarray(mask.convert("L") if mask.mode in ("1", "LA") else mask)
    if values.ndim == 3:
        if mask.mode not in ("RGB", "RGBA") or (values[..., :3] != values[..., :1]).any():
            raise _in_colour(path, kind, np.asarray(mask.convert("RGB")))
        values = values[..., 0]
    if picture.lossy and not np.isin(values, (0, 255)).all():
        remedy = "save it as PNG from where it was drawn, or, if it was 0/255, threshold it at 128"
        given = "is in a lossy format, which has changed its values"
        raise fault(path, given, "exactly 0/255 or class numbers", f"{remedy} and save it as PNG")
    return values


def _in_colour(path: Path, mode: str, pixels: np.ndarray) -> UserError:
    """The fault of a mask in colour; its attribute `colours` has those that it holds."""
    shown, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    colours = dict(zip(map(tuple, shown.tolist()), counts.tolist(), strict=True))
    expected = "one channel with 0/255 or class numbers 0, 1, 2, ..."
    given = f"is a mask in colour ({mode}, {len(colours)} colours)"
    error = UserError(f"{path} {given}; expected {expected}: {renumber(colours)}.", expected)
    error.colours = colours
    return error


def renumber(colours: Mapping[tuple[int, ...], int]) -> str:
    """The remedy for colours: background is black, or else what has most pixels."""
    likely = sorted(colours, key=lambda c: (any(c), -colours[c]))
    order = ", ".join(f"{c} -> {i}" for i, c in enumerate(likely[:FEW]))
    more = ", ..." if len(colours) > FEW else ""
    return f"give each colour a number, perhaps {order}{more}, and save it grey, as PNG"


def _numbered(mask: Image.Image) -> bool:
    """Whether a palette's numbers are classes: 0 is black, or unused beside colours."""
    palette, used = np.reshape(mask.getpalette("RGB"), (-1, 3)), np.unique(mask)
    if not palette[0].any():
        return True
    shown = palette[used[used < len(palette)]]
    return bool(used[0]) and (shown != shown[:, :1]).any()


def _check_alpha(path: Path, pixels: np.ndarray) -> None:
    """UserError where only the alpha channel tells the object from its surroundings: in colours
    that go on where it is clear, or in black."""
    alpha, coloured = pixels[..., -1], pixels[..., :-1].any(-1)
    hidden = (coloured & (alpha < 255)).any() or not coloured[alpha > 0].any()
    if hidden and alpha.min() < alpha.max():
        given = f"has its mask in the alpha channel ({alpha.min()} to {alpha.max()}) alone"
        raise fault(path, given, "it in grey", "save the alpha channel as a grey picture")


def check_values(path: Path | str, values: Iterable[float]) -> None:
    """UserError for values other than 0/255, or class numbers 0..C, perhaps with IGNORE."""
    found = np.array(sorted(values))
    if np.isin(found, [*range(MOST_CLASSES + 1), IGNORE]).all():
        return
    listed = ", ".join(f"{v:g}" for v in found[:6]) + (", ..." if len(found) > 6 else "")
    given = f"holds the {len(found)} value(s) {listed}"
    expected = f"0/255, or class numbers 0..{MOST_CLASSES} (and {IGNORE} for pixels to ignore)"
    raise fault(path, given, expected, _remedy(found))


def _remedy(found: np.ndarray) -> str:
    """What to do about these values, the likely meaning first."""
    numbers = np.isin(found, np.arange(MOST_CLASSES + 1))
    counted = numbers.sum() > 1 and np.array_equal(found[numbers], np.arange(numbers.sum()))
    if counted and (~numbers).sum() == 1:  # as 254 or -1 beside 0, 1, 2
        odd = f"{found[~numbers][0]:g}"
        return f"if {odd} marks pixels to ignore, save it as {IGNORE}; if objects, as a class"
    if len(found) == 2 and found[1] % 1 == 0 and found[0] >= 0:
        return f"if {found[1]:g} is its object, save that as 255"
    if not np.isfinite(found).all() or found.min() < 0 or found.max() > 255:
        return "if these are object numbers or scores, threshold them to 0/255"
    if found.max() <= 1:
        return "if these are probabilities, threshold them at 0.5 and save 0/255"
    blurred = "if compression or resizing blurred a 0/255 mask, threshold it at 128 and save a PNG"
    steps = np.diff(found)
    if len(found) > FEW or np.ptp(steps) > 1 or steps.min() < 20:
        return f"{blurred}; if its greys are classes, give class after class a number from 1"
    order = ", ".join(f"{v:g} -> {i}" for i, v in enumerate(found))
    return f"if its even steps are classes, renumber them, perhaps {order}; {blurred}"


def count_values(values: np.ndarray) -> dict[float, int]:
    """How often each value is there; np.unique sorts, which takes far longer for bytes."""
    if values.dtype != np.uint8:
        return dict(zip(*(a.tolist() for a in np.unique(values, return_counts=True)), strict=True))
    counts = np.bincount(values.ravel(), minlength=256)
    return {v: int(counts[v]) for v in np.flatnonzero(counts).tolist()}


def one_piece(values: np.ndarray) -> float | None:
    """Share of a mask's numbers that are one connected piece; None where it has fewer than two."""
    if values.max() > MOST_CLASSES:
        return None
    boxes = enumerate(ndimage.find_objects(values.astype(np.int32)), 1)
    pieces = [ndimage.label(values[box] == n, TOUCHING)[1] for n, box in boxes if box]
    return float(np.mean(np.equal(pieces, 1))) if len(pieces) > 1 else None
