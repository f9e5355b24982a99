"""One mask as numbers: of a file, or of COCO's polygons and runs; or a sentence on its fault."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from naslora_core.data.dataset import IGNORE
from naslora_core.data.image_io import Picture, open_picture
from naslora_core.data.listing import fault
from naslora_core.errors import UserError

MOST_CLASSES = 64
FEW = 12  # colours or values that a sentence can list
SLACK = 1  # pixels that a polygon may lie outside: annotation tools round
TOUCHING = np.ones((3, 3))  # pixels that touch at a corner are one piece


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
    """The numbers of a mask file, `H W`; UserError for colours or what does not open."""
    return mask_values(path, open_picture(path))


def mask_values(path: Path, picture: Picture) -> np.ndarray:
    """The numbers `H W` of an opened mask.

    Of a palette, the numbers are read where colour 0 is black, else the greys that it shows.
    Raises UserError for colours, for a mask in the alpha channel, for several pictures in one file,
    and for values that a lossy format has changed.
    """
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
            raise _in_colour(path, kind, mask)
        values = values[..., 0]
    if picture.lossy and not np.isin(values, (0, 255)).all():
        raise UserError(
            f"{path} is in a lossy format, which has changed its values; expected exactly 0/255 or "
            "class numbers; save it as PNG from where it was drawn, or, if it was 0/255, threshold "
            "it at 128 and save it as PNG."
        )
    return values


def _in_colour(path: Path, kind: str, mask: Image.Image) -> ColourMask:
    colours = np.unique(np.asarray(mask.convert("RGB")).reshape(-1, 3), axis=0)
    return ColourMask(path, kind, [tuple(c) for c in colours.tolist()])


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
        raise UserError(
            f"{path} has its mask in the alpha channel ({alpha.min()} to {alpha.max()}), its "
            "colours do not show it; expected it in grey: save the alpha channel as a grey picture."
        )


def check_values(path: Path | str, counts: Mapping[float, int]) -> set[int]:
    """The values of a mask (value -> pixels): 0/255, or class numbers 0..C, perhaps with IGNORE.

    Raises UserError for any others.
    """
    found = np.array(sorted(counts))
    whole = np.isfinite(found).all() and (found == np.round(found)).all() and found.min() >= 0
    if whole and all(v <= MOST_CLASSES or v == IGNORE for v in found):
        return {int(v) for v in found}
    listed = ", ".join(f"{v:g}" for v in found[:6]) + (", ..." if len(found) > 6 else "")
    raise UserError(
        f"{path} holds the {len(found)} value(s) {listed}; expected 0/255, or class numbers "
        f"0..{MOST_CLASSES} (and {IGNORE} for pixels to ignore): {_remedy(found)}."
    )


def _remedy(found: np.ndarray) -> str:
    """What to do about these values, the likely meaning first."""
    if not np.isfinite(found).all() or found.min() < 0 or found.max() > 255:
        return "if these are object numbers or scores, threshold them to 0/255"
    if found.max() <= 1:
        return "if these are probabilities, threshold them at 0.5 and save 0/255"
    if len(found) == 2:
        return f"if {found[1]:g} is its object, save that as 255"
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
    """Share of a mask's numbers (from 1) that are one connected piece each.

    None for a mask with fewer than two: it could be of objects or of classes.
    """
    if values.max() > MOST_CLASSES:
        return None
    boxes = enumerate(ndimage.find_objects(values.astype(np.int32)), 1)
    pieces = [ndimage.label(values[box] == n, TOUCHING)[1] for n, box in boxes if box]
    return float(np.mean(np.equal(pieces, 1))) if len(pieces) > 1 else None


def draw(
    file: Path, image: dict, objects: list[dict], categories: list[int]
) -> tuple[np.ndarray, list[int]]:
    """The label map `H W` uint8 of one image (number n is the n-th category; later objects over
    earlier ones), and the categories of objects that later ones cover whole.

    Raises UserError, naming the annotation, for a shape that is malformed or outside the image.
    """
    from pycocotools.coco import COCO

    coco = COCO()
    coco.imgs = {image["id"]: image}
    above = np.zeros((image["height"], image["width"]), np.int32)  # the object on top, from 1
    drawn = []
    for number, entry in enumerate(objects, 1):
        _check_shape(f"{file}: {entry['name']}", entry["segmentation"], *above.shape)
        mask = coco.annToMask(entry).astype(bool)
        above[mask] = number
        drawn += [number] * bool(mask.any())
    numbers = [0, *(categories.index(entry["category_id"]) + 1 for entry in objects)]
    hidden = sorted(set(drawn) - set(np.unique(above).tolist()))
    labels = np.array(numbers, np.uint8)[above]
    return labels, [objects[number - 1]["category_id"] for number in hidden]


def _check_shape(name: str, shape: list | dict, height: int, width: int) -> None:
    if isinstance(shape, dict):
        return _check_runs(name, shape, height, width)
    for points in shape or [[]]:
        numbers = points if isinstance(points, list) else []
        finite = all(isinstance(n, int | float) and np.isfinite(n) for n in numbers)
        if len(numbers) < 6 or len(numbers) % 2 or not finite:
            given, expected = f"has a malformed polygon ({points!r:.40})", "x, y, x, y, x, y, ..."
            raise fault(name, given, expected, "draw it again or remove it")
        places = np.reshape(numbers, (-1, 2))
        low, high, size = places.min(0), places.max(0), f"{width}x{height}"
        ends = f"({low[0]:g}, {low[1]:g}) to ({high[0]:g}, {high[1]:g})"
        if (high <= 1).all() and min(height, width) > 2:
            remedy = "multiply x by the width and y by the height"
            raise fault(name, f"has a polygon from {ends}", f"pixels, not shares of {size}", remedy)
        if (low < -SLACK).any() or (high > (width + SLACK, height + SLACK)).any():
            given, remedy = f"reaches from {ends}", "clip it, or correct the image's width, height"
            raise fault(name, given, f"points inside its image of {size} pixels", remedy)


def _check_runs(name: str, shape: dict, height: int, width: int) -> None:
    """UserError where runs do not fill the image: pycocotools leaves the rest to chance."""
    if shape.get("size") != [height, width]:
        expected = f"[{height}, {width}], the height and width of its image"
        raise fault(name, f"is an RLE of size {shape.get('size')!r}", expected, "correct one")
    counts = shape.get("counts")
    if not (_fills(shape) if isinstance(counts, str) else _counted(counts, height * width)):
        expected = f"runs that fill {width}x{height} pixels"
        raise fault(name, f"has a malformed RLE ({counts!r:.40})", expected, "encode it again")


def _counted(runs, pixels: int) -> bool:
    good = isinstance(runs, list) and all(type(run) is int and run >= 0 for run in runs)
    return good and sum(runs) == pixels


def _fills(shape: dict) -> bool:
    """Whether compressed runs are whole: what was decoded is encoded alike."""
    from pycocotools import mask

    try:
        return mask.encode(mask.decode(shape))["counts"].decode() == shape["counts"]
    except ValueError:
        return False
