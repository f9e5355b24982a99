"""Look at every image and mask once: all that a check, a dataset and a run's record need."""

import filecmp
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from naslora_core.data import dataset
from naslora_core.data.dataset import IGNORE, Sample, digest_of
from naslora_core.data.image_io import open_picture, spread
from naslora_core.data.listing import Listing, attempt
from naslora_core.data.mask_io import ColourMask, check_values, count_values, one_piece, renumber
from naslora_core.data.splits import print_of
from naslora_core.errors import UserError, fault, some
from naslora_core.progress import progress as shown

MEGAPIXELS = 40  # from which a picture is huge
MODES = {"L": "grey", "1": "grey", "P": "palette", "CMYK": "cmyk"}
MODES |= dict.fromkeys(("RGBA", "LA", "PA"), "alpha")


@dataclass
class Look:
    """What one image and its mask are.

    size: of the image `H W`, upright; kinds: what is unusual (see `report.KINDS`); shares: of
    the mask's pixels, by value; one_piece: as `mask_io.one_piece` has it; print: for
    near-duplicates; digest: of the sample; mask_digest: of the mask's values; faults: by their
    part (image, mask, size); seconds: to read both.
    """

    name: str
    size: tuple[int, int] | None = None
    kinds: set[str] = field(default_factory=set)
    shares: dict[int, float] = field(default_factory=dict)
    one_piece: float | None = None
    print: np.ndarray | None = None
    digest: str = ""
    mask_digest: int = 0
    faults: dict[str, UserError] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Inspection:
    """looks by name; kept: image and mask values by name, of those that fit into memory; classes:
    their names; ignore: whether 255 marks pixels to ignore; faults: one sentence for each kind."""

    listing: Listing
    looks: dict[str, Look] = field(default_factory=dict)
    kept: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    ignore: bool = False
    faults: tuple[str, ...] = ()

    def numbers(self, name: str) -> set[int]:
        """The numbers of the objects in a mask."""
        return self.looks[name].shares.keys() - {0, IGNORE if self.ignore else 0}

    def sample(self, name: str, image: np.ndarray, values: np.ndarray) -> Sample:
        """The sample of an image with its mask's values: classes 1..C, IGNORE where it is."""
        mask = values > 0 if len(self.classes) == 1 else values
        if self.ignore:
            mask = np.where(values == IGNORE, IGNORE, mask)
        return Sample(image, mask.astype(np.uint8), name)


def inspect(listing: Listing, progress: bool = False, keep: bool = True) -> Inspection:
    """Decode every image and mask once. keep: samples, as far as a split keeps them."""
    seen, room = Inspection(listing), dataset.KEEP if keep else 0
    names = sorted(listing.images)
    for name in shown(names, "images looked at", len(names), quiet=not progress):
        one, image, values = look(listing, name)
        seen.looks[name] = one
        if not one.faults and (size := image.nbytes + values.nbytes) <= room:
            room, seen.kept[name] = room - size, (image, values)
    found = list(listing.faults)
    attempt(found, _check_text, listing)
    attempt(found, _name_classes, seen)
    attempt(found, _check_train, seen)
    seen.faults = (*map(str, found), *_one_a_kind(seen.looks.values()))
    return seen


def look(listing: Listing, name: str) -> tuple[Look, np.ndarray | None, np.ndarray | None]:
    """One image and its mask, read once; whatever is wrong with either is in `faults`."""
    one, start = Look(name), time.perf_counter()
    image = _try(one, "image", _image, listing, one)
    values = _try(one, "mask", _mask, listing, one)
    if image is not None and values is not None:
        _try(one, "size", _check_pair, listing, name, image, values)
        held = values > 0 if set(one.shares) <= {0, IGNORE} else values
        one.digest = digest_of(name, image, held.astype(np.uint8))
    one.seconds = time.perf_counter() - start
    return one, image, values


def _try(one: Look, part: str, function: Callable, *arguments):
    try:
        return function(*arguments)
    except UserError as error:
        one.faults[part] = error


def _image(listing: Listing, one: Look) -> np.ndarray:
    picture = open_picture(listing.images[one.name])
    rgb, nodata = spread(picture)
    one.size = rgb.shape[:2]
    kinds = {MODES.get(picture.image.mode): True, "deep": picture.deep and not nodata}
    kinds |= {"nodata": nodata, "turned": picture.turned, "frames": picture.frames > 1}
    kinds["huge"] = rgb.shape[0] * rgb.shape[1] > MEGAPIXELS * 10**6
    one.kinds = {kind for kind, so in kinds.items() if kind and so}
    one.print = print_of(rgb)
    return rgb


def _mask(listing: Listing, one: Look) -> np.ndarray:
    mask, image = listing.masks[one.name], listing.images[one.name]
    if isinstance(mask, Path) and filecmp.cmp(mask, image, shallow=False):
        raise _itself(mask, image)
    values = listing.read(one.name)
    counts = count_values(values)
    if not listing.classes:
        check_values(mask, counts)
        one.one_piece = one_piece(values)
    one.mask_digest = zlib.crc32(np.ascontiguousarray(values))
    one.shares = {int(v): count / values.size for v, count in counts.items()}
    return values


def _check_pair(listing: Listing, name: str, image: np.ndarray, values: np.ndarray) -> None:
    """UserError where the mask has not the image's shape, or is the image itself."""
    mask, size, file = values.shape, image.shape[:2], listing.images[name]
    if mask != size:
        turned = " (turned upright by its EXIF orientation)" if mask == size[::-1] else ""
        given = f"is {mask[1]}x{mask[0]} pixels, its image {file.name} {size[1]}x{size[0]}{turned}"
        raise fault(listing.masks[name], given, "the same", listing.remedy)
    same = values.min() != values.max() and (image == values[..., None]).all()
    if same and not listing.classes:
        raise _itself(listing.masks[name], file)


def _itself(mask: Path | str, image: Path) -> UserError:
    return fault(mask, f"is {image.name} itself", "its mask", "put that in its place")


def _check_text(listing: Listing) -> None:
    """UserError for names that are not UTF-8: Python holds what it could not read as surrogates."""
    names = [str(listing.where), *listing.images]
    if odd := [name for name in names if name != name.encode(errors="replace").decode()]:
        given, expected = f"has {some(odd, 'name')} that are not UTF-8", "names that are"
        raise fault(listing.where, given, expected, "rename the files")


def _name_classes(seen: Inspection) -> None:
    """Give the inspection its classes, as the listing or all masks have them."""
    listing, looks = seen.listing, seen.looks
    held = {name: set(one.shares) for name, one in looks.items() if one.shares}
    if listing.classes:
        seen.classes = listing.classes
    elif 0 < len(held) == len(looks) or set().union(*held.values()) - {0}:
        # what was not read might hold the objects
        seen.classes, seen.ignore = class_names(listing, held)


def class_names(listing: Listing, held: Mapping[str, set[int]]) -> tuple[tuple[str, ...], bool]:
    """The names of the classes, and whether 255 beside class numbers marks pixels to ignore.

    One class for binary masks, else one for each number up to the highest of all masks.
    """
    numbers = set().union(*held.values()) - {0, IGNORE}
    beside = [name for name, values in held.items() if IGNORE in values and values - {0, IGNORE}]
    alone = [name for name, values in held.items() if values - {0} == {IGNORE}]
    if not numbers and not alone:
        given = "has only empty masks (the value 0)"
        raise fault(listing.where, given, "255 or class numbers from 1", "export the masks again")
    if alone and numbers and (numbers != {1} or beside) and len(alone) > len(beside):
        given = f"holds 255, other masks class numbers up to {max(numbers)}"
        remedy = "give its foreground the number of its class"
        raise fault(listing.masks[alone[0]], given, f"0..{max(numbers)} in all of them", remedy)
    if numbers <= {1}:
        return ("object",), bool(beside)
    return tuple(f"class {c}" for c in range(1, max(numbers) + 1)), bool(beside)


def _check_train(seen: Inspection) -> None:
    """UserError where no image of train has an object, and another image has."""
    train = seen.listing.splits["train"]
    read = train and all(seen.looks[name].shares for name in train)
    if seen.classes and read and not any(map(seen.numbers, train)):
        given = f"has no object in all {len(train)} image(s) of train"
        remedy = "correct the split, or the masks of train"
        raise fault(seen.listing.where, given, "some to learn from", remedy)


def _one_a_kind(looks: Iterable[Look]) -> list[str]:
    """One sentence for each kind of fault: the first of it, and which others are so."""
    kinds: dict[tuple[str, str], list[tuple[str, UserError]]] = defaultdict(list)
    for one in looks:
        for part, error in one.faults.items():
            kinds[part, error.kind].append((one.name, error))
    return [_together(found) for found in kinds.values()]


def _together(found: list[tuple[str, UserError]]) -> str:
    others = [name for name, _ in found[1:]]
    sentence = str(found[0][1]) + (f" The same goes for {some(others)}." if others else "")
    colours = {c for _, error in found if isinstance(error, ColourMask) for c in error.colours}
    if others and colours:
        sentence += f" All {len(colours)} colours of these masks: {renumber(sorted(colours))}."
    return sentence
