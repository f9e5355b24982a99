"""Look at every image and mask once: all that a check, a dataset and a run's record need."""

import filecmp
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from naslora_core.data import dataset
from naslora_core.data.dataset import IGNORE, Sample, digest_of
from naslora_core.data.image_io import open_picture, spread
from naslora_core.data.listing import Listing, attempt
from naslora_core.data.mask_io import check_values, count_values, one_piece, renumber
from naslora_core.data.splits import print_of
from naslora_core.errors import UserError, fault, some
from naslora_core.progress import progress as shown

MEGAPIXELS = 40  # from which a picture is huge


@dataclass
class Look:
    """What one image and its mask are.

    size: of the image `H W`, upright; kinds: what is unusual (see `report.KINDS`); shares: of
    the mask's pixels, by value; one_piece: as `mask_io.one_piece` has it; print: for
    near-duplicates; digest: of the sample; mask_digest: of the mask's values.
    """

    name: str
    size: tuple[int, int] | None = None
    kinds: set[str] = field(default_factory=set)
    shares: dict[int, float] = field(default_factory=dict)
    one_piece: float | None = None
    print: np.ndarray | None = None
    digest: str = ""
    mask_digest: int = 0
    faults: list[UserError] = field(default_factory=list)


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


def inspect(
    listing: Listing,
    progress: bool = False,
    keep: bool = True,
    once: Callable = lambda look: look(),
) -> Inspection:
    """Decode every image and mask once. keep: samples, as far as a split keeps them; once: calls a
    function in one process of several, and returns in each what it returned there."""
    seen, names = Inspection(listing), sorted(listing.images)

    def look_at_all() -> dict[str, Look]:
        looks, room = {}, dataset.KEEP if keep else 0
        for name in shown(names, "images looked at", len(names), quiet=not progress):
            looks[name], image, values = look(listing, name)
            if not looks[name].faults and (size := image.nbytes + values.nbytes) <= room:
                room, seen.kept[name] = room - size, (image, values)
        return looks

    seen.looks = once(look_at_all)
    found = list(listing.faults)
    for check in (_check_text, _name_classes, _check_train):
        attempt(found, check, seen)
    seen.faults = (*map(str, found), *_one_a_kind(seen.looks.values()))
    return seen


def look(listing: Listing, name: str) -> tuple[Look, np.ndarray | None, np.ndarray | None]:
    """One image and its mask, read once; whatever is wrong with either is in `faults`."""
    one = Look(name)
    image, values = (attempt(one.faults, part, listing, one) for part in (_image, _mask))
    if image is not None and values is not None:
        attempt(one.faults, _check_pair, listing, name, image, values)
        held = values > 0 if set(one.shares) <= {0, IGNORE} else values
        one.digest = digest_of(name, image, held.astype(np.uint8))
    return one, image, values


def _image(listing: Listing, one: Look) -> np.ndarray:
    picture = open_picture(listing.images[one.name])
    rgb, nodata = spread(picture)
    kinds = {
        "converted": picture.image.mode != "RGB" and not picture.deep,
        "deep": picture.deep and not nodata,
        "nodata": nodata,
        "turned": picture.turned,
        "frames": picture.frames > 1,
        "huge": rgb.size > 3 * MEGAPIXELS * 10**6,
    }
    one.kinds = {kind for kind, so in kinds.items() if so}
    one.size, one.print = rgb.shape[:2], print_of(rgb)
    return rgb


def _mask(listing: Listing, one: Look) -> np.ndarray:
    mask, image = listing.masks[one.name], listing.images[one.name]
    with suppress(OSError):  # told where it is read
        if isinstance(mask, Path) and one.size and filecmp.cmp(mask, image, shallow=False):
            raise _itself(mask, image)
    if size := listing.sizes.get(one.name):  # before so much is drawn
        _check_size(listing, one.name, size, one.size or size)
    values = listing.read(one.name)
    counts = count_values(values)
    if not listing.classes:
        check_values(mask, counts)
        one.one_piece = one_piece(values)
    one.mask_digest = zlib.crc32(np.ascontiguousarray(values))
    one.shares = {int(v): count / values.size for v, count in counts.items()}
    return values


def _check_size(listing: Listing, name: str, mask: tuple[int, int], image: tuple[int, int]) -> None:
    """UserError where the mask has not the image's size `H W`."""
    if mask != image:
        turned = " (turned upright by its EXIF orientation)" if mask == image[::-1] else ""
        size, file = f"{image[1]}x{image[0]}{turned}", listing.images[name].name
        given = f"is {mask[1]}x{mask[0]} pixels, its image {file} {size}"
        raise fault(listing.masks[name], given, "the same", listing.remedy)


def _check_pair(listing: Listing, name: str, image: np.ndarray, values: np.ndarray) -> None:
    """UserError where the mask has not the image's size, or is the image itself."""
    _check_size(listing, name, values.shape, image.shape[:2])
    same = values.min() != values.max() and (image == values[..., None]).all()
    if same and not listing.classes:
        raise _itself(listing.masks[name], listing.images[name])


def _itself(mask: Path | str, image: Path) -> UserError:
    return fault(mask, f"is {image.name} itself", "its mask", "put that in its place")


def _check_text(seen: Inspection) -> None:
    """UserError for names that are not UTF-8: Python holds what it could not read as surrogates."""
    where = seen.listing.where
    names = [str(where), *seen.listing.images]
    if odd := [name for name in names if name != name.encode(errors="replace").decode()]:
        raise fault(where, f"has {some(odd, 'name')} not in UTF-8", "UTF-8", "rename the files")


def _name_classes(seen: Inspection) -> None:
    """Name the classes, as the listing or all masks have them: one for binary masks, else one for
    each number up to the highest; and say whether 255 beside class numbers marks what to ignore."""
    listing, looks = seen.listing, seen.looks
    held = {name: set(one.shares) - {0} for name, one in looks.items() if one.shares}
    every = set().union(*held.values())
    if listing.classes or not (0 < len(held) == len(looks) or every):
        seen.classes = listing.classes  # none: what was not read might hold the objects
        return
    numbers = every - {IGNORE}
    beside = [name for name, values in held.items() if IGNORE in values and len(values) > 1]
    alone = [name for name, values in held.items() if values == {IGNORE}]
    if not every:
        given = "has only empty masks (the value 0)"
        raise fault(listing.where, given, "255 or class numbers from 1", "export the masks again")
    if alone and numbers and (numbers != {1} or beside) and len(alone) > len(beside):
        given = f"holds 255, other masks class numbers up to {max(numbers)}"
        expected = f"0..{max(numbers)} in all of them"
        remedy = "give its foreground the number of its class"
        raise fault(listing.masks[alone[0]], given, expected, remedy)
    several = tuple(f"class {c}" for c in range(1, max(numbers, default=0) + 1))
    seen.classes, seen.ignore = several if numbers - {1} else ("object",), bool(beside)


def _check_train(seen: Inspection) -> None:
    """UserError where no image of train has an object, and another image has."""
    train = seen.listing.splits["train"]
    read = train and all(seen.looks[name].shares for name in train)
    if seen.classes and read and not any(map(seen.numbers, train)):
        given = f"has no object in all {len(train)} image(s) of train"
        raise fault(seen.listing.where, given, "some", "correct the split, or the masks of train")


def _one_a_kind(looks: Iterable[Look]) -> list[str]:
    """One sentence for each kind of fault: the first of it, and which others are so."""
    kinds: dict[tuple, list[tuple[str, UserError]]] = defaultdict(list)
    for one in looks:
        for error in one.faults:
            of_the_image = one.size is None
            kinds[error.kind, of_the_image].append((one.name, error))
    sentences = []
    for (_, first), *more in kinds.values():
        others = [name for name, _ in more]
        sentence = str(first) + (f" The same goes for {some(others)}." if others else "")
        errors = first, *(error for _, error in more)
        colours = sum((Counter(getattr(error, "colours", ())) for error in errors), Counter())
        if others and colours:
            sentence += f" All {len(colours)} colours of these masks: {renumber(colours)}."
        sentences.append(sentence)
    return sentences
