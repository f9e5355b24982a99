"""Look at every image and mask once: all that a check, a dataset and a run's record need."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from naslora_core.data import dataset
from naslora_core.data.dataset import IGNORE, Sample, digest_of
from naslora_core.data.image_io import open_picture, spread
from naslora_core.data.listing import Listing, attempt, fault, some
from naslora_core.data.mask_io import ColourMask, check_values, count_values, one_piece, renumber
from naslora_core.data.near_duplicates import Print, print_of
from naslora_core.errors import UserError

MEGAPIXELS = 40  # from which a picture is huge
MODES = {"L": "grey", "1": "grey", "P": "palette", "CMYK": "cmyk"}
MODES |= dict.fromkeys(("RGBA", "LA", "PA"), "alpha")


@dataclass
class Look:
    """What one image and its mask are.

    size: of the image `H W`, upright; kinds: what is unusual (see `report.KINDS`); shares: of
    the mask's pixels, by value; one_piece: as `mask_io.one_piece` has it; print: for
    near-duplicates; digest: of the sample; faults: each with its part (image, mask, size);
    seconds: to read both.
    """

    name: str
    size: tuple[int, int] | None = None
    kinds: set[str] = field(default_factory=set)
    shares: dict[int, float] = field(default_factory=dict)
    one_piece: float | None = None
    print: Print | None = None
    digest: str = ""
    faults: list[tuple[str, UserError]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Inspection:
    """looks by name; classes: their names; ignore: whether 255 marks pixels to ignore; faults: one
    sentence for each kind; kept: image and mask values by name, of those that fit into memory."""

    looks: Mapping[str, Look]
    classes: tuple[str, ...]
    ignore: bool
    faults: tuple[str, ...]
    kept: Mapping[str, tuple[np.ndarray, np.ndarray]]

    def numbers(self, name: str) -> set[int]:
        """The numbers of the objects in a mask."""
        return self.looks[name].shares.keys() - {0, IGNORE if self.ignore else 0}

    def sample(self, name: str, image: np.ndarray, values: np.ndarray) -> Sample:
        """The sample of an image with its mask's values: classes 1..C, IGNORE where it is."""
        mask = values > 0 if len(self.classes) == 1 else values
        if self.ignore:
            mask = np.where(values == IGNORE, IGNORE, mask)
        return Sample(image, mask.astype(np.uint8), name)


def inspect(
    listing: Listing, faults: Sequence[UserError] = (), progress: bool = False, keep: bool = True
) -> Inspection:
    """Decode every image and mask once. faults: those found before; keep: samples, as
    far as a split keeps them."""
    looks, kept, found = {}, {}, list(faults)
    room = dataset.KEEP if keep else 0
    for name in tqdm(sorted(listing.images), "check", unit="image", disable=not progress):
        looks[name], image, values = look(listing, name)
        if not looks[name].faults and (size := image.nbytes + values.nbytes) <= room:
            room, kept[name] = room - size, (image, values)
    held = {name: set(one.shares) for name, one in looks.items() if one.shares}
    known = len(held) == len(looks) or set().union(*held.values()) - {0}
    named = (listing.classes, False) if listing.classes or not known else None
    named = named or attempt(found.append, class_names, listing, held)
    named = named or ((), False)
    seen = Inspection(looks, *named, (), kept)
    attempt(found.append, _check_train, listing, seen)
    sentences = [str(error) for error in found] + _together_by_kind(listing, looks.values())
    return replace(seen, faults=tuple(sentences))


def _check_train(listing: Listing, seen: Inspection) -> None:
    """UserError where no image of train has an object, and another image has."""
    train = listing.splits["train"]
    if seen.classes and train and not any(seen.numbers(name) for name in train):
        given, expected = (
            f"has no object in all {len(train)} image(s) of train",
            "some to learn from",
        )
        raise fault(listing.where, given, expected, "correct the split, or the masks of train")


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
    return attempt(lambda error: one.faults.append((part, error)), function, *arguments)


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
    values = listing.read(one.name)
    counts = count_values(values)
    if not listing.classes:
        check_values(listing.masks[one.name], counts)
        one.one_piece = one_piece(values)
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
        remedy = "put the mask of this image in its place"
        raise fault(listing.masks[name], f"is {file.name} itself", "its mask", remedy)


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


def _together_by_kind(listing: Listing, looks: Iterable[Look]) -> list[str]:
    """One sentence for each kind of fault: the first of it, and which others are so."""
    kinds: dict[tuple[str, ...], list[tuple[str, UserError]]] = {}
    for one in looks:
        for part, error in one.faults:
            # a kind is what remains of a sentence without its files, numbers and lists of values
            words = str(error)
            for file in (listing.masks[one.name], listing.images[one.name]):
                words = words.replace(str(file), "").replace(Path(file).name, "")
            key = (part, *re.sub(r"\S*[./]\S+|[^a-z ]", "", words).split())
            kinds.setdefault(key, []).append((one.name, error))
    return [_together(found) for found in kinds.values()]


def _together(found: list[tuple[str, UserError]]) -> str:
    others = [name for name, _ in found[1:]]
    sentence = str(found[0][1]) + (f" The same goes for {some(others)}." if others else "")
    colours = {c for _, error in found if isinstance(error, ColourMask) for c in error.colours}
    if others and colours:
        sentence += f" All {len(colours)} colours of these masks: {renumber(sorted(colours))}."
    return sentence
