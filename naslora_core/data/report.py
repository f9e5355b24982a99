"""What a check found: a table, the faults, and sentences on what is unusual."""

import html
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from naslora_core.data.dataset import IGNORE
from naslora_core.data.inspection import MEGAPIXELS, Inspection, Look
from naslora_core.data.splits import near_pairs
from naslora_core.errors import first, printable, some

COLUMNS = ("part", "images", "size (min / median / max)", "empty", "foreground (median, range)")
FEW_CLASSES = 8  # up to so many, numbers are taken for classes unless every mask counts from 1
NEARLY = 0.9  # of the numbers of a mask, and of the masks
KINDS = {
    "grey": "grey; the grey is copied to red, green and blue",
    "palette": "of palette colours; they are converted to RGB",
    "alpha": "with an alpha channel; it is dropped",
    "cmyk": "CMYK; they are converted to RGB, roughly",
    "deep": "of 16 bits or more; the range of each is spread over 0..255, so that brightness "
    "cannot be compared between them",
    "nodata": 'with a value far from all others, taken for "no data"; it is black, and the range '
    "of the others is spread over 0..255",
    "turned": "turned by their EXIF orientation; they are read upright, as their masks must be",
    "frames": "of several frames; only the first of each is used",
}


@dataclass(frozen=True)
class Report:
    """rows: one a split, one for all, one a class, each with COLUMNS as keys; faults and notes:
    sentences. Reads as a table."""

    name: str
    rows: tuple[dict[str, str], ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing stops a training."""
        return not self.faults

    def __str__(self) -> str:
        count = len(self.faults)
        lines = [f"{self.name}: {f'{count} fault(s) stop a training' if count else 'no fault'}"]
        if self.rows:
            table = [COLUMNS, *(tuple(row[c] for c in COLUMNS) for row in self.rows)]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        for title, sentences in {"Faults:": self.faults, "Notes:": self.notes}.items():
            lines += [title, *(f"  - {one}" for one in sentences)] if sentences else []
        return printable("\n".join(lines))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def report_on(seen: Inspection) -> Report:
    """The report of what was seen."""
    parts = {split: names for split, names in seen.listing.splits.items() if names}
    rows = [_row(part, seen, names) for part, names in (parts | {"all": [*seen.looks]}).items()]
    for number, name in enumerate(seen.classes, 1) if len(seen.classes) > 1 else ():
        names = [n for n in seen.looks if number in seen.numbers(n)]
        rows.append(_row(f"{number}: {name}", seen, names, {number}))
    return Report(seen.listing.name, tuple(rows), seen.faults, tuple(notes_on(seen)))


def _row(part: str, seen: Inspection, names: list[str], of: set[int] | None = None) -> dict:
    """A row of the table on some images; of: the classes whose foreground counts, None for all."""
    looks = [seen.looks[name] for name in names]
    sizes = sorted((one.size for one in looks if one.size), key=lambda size: size[0] * size[1])
    picked = [sizes[0], sizes[len(sizes) // 2], sizes[-1]] if sizes else []
    read = [one for one in looks if one.shares]
    numbers = [seen.numbers(one.name) for one in read]
    held = [found & of if of else found for found in numbers]
    shares = [sum(map(one.shares.get, found)) for one, found in zip(read, held, strict=True)]
    middle, low, high = (100 * f(shares) if shares else 0 for f in (np.median, min, max))
    cells = (
        part,
        str(len(looks)),
        " / ".join(f"{width}x{height}" for height, width in picked),
        str(sum(not found for found in numbers)),
        f"{middle:.3g}%, {low:.3g}% to {high:.3g}%" if shares else "",
    )
    return dict(zip(COLUMNS, cells, strict=True))


def notes_on(seen: Inspection) -> list[str]:
    """A sentence for each unusual thing: files, pictures, masks and classes, splits."""
    looks, notes = seen.looks, list(seen.listing.notes)
    for kind, words in KINDS.items():
        if names := [name for name, one in looks.items() if kind in one.kinds]:
            notes.append(f"{some(names)} {words}.")
    if huge := {name: one.seconds for name, one in looks.items() if "huge" in one.kinds}:
        notes.append(
            f"{some(list(huge))} over {MEGAPIXELS} megapixels take {sum(huge.values()):.1f} s to "
            "read, in every epoch; train on tiles (--tile SIDE), or save them smaller."
        )
    return notes + _on_masks(seen) + _on_classes(seen) + _on_splits(seen)


def _on_masks(seen: Inspection) -> list[str]:
    looks, notes = seen.looks, []
    if empty := [name for name, one in looks.items() if one.shares.keys() == {0}]:
        notes.append(f"{some(empty)} with an empty mask; right if nothing is to be found there.")
    if marked := [name for name, one in looks.items() if seen.ignore and IGNORE in one.shares]:
        notes.append(
            f"{some(marked, 'mask')} with 255 beside class numbers: these pixels are ignored, in "
            "loss and scores; if they are objects, give them the number of their class."
        )
    if again := _alike(looks.values()):
        notes.append(
            f"{some(again, 'mask')} are in every pixel as another image's; right if both show the "
            "same objects."
        )
    if not seen.listing.classes and objects_counted(looks.values(), len(seen.classes)):
        notes.append(
            f"The {len(seen.classes)} numbers of the masks look like object numbers: in nearly "
            "every mask nearly every number is one connected piece; save 0 and 255 if they are."
        )
    return notes


def _alike(looks: Iterable[Look]) -> list[str]:
    """The names of masks with an object that are as one before them."""
    held = [one for one in looks if one.shares.keys() - {0}]
    first_of = {one.mask_digest: one.name for one in reversed(held)}
    return [one.name for one in held if first_of[one.mask_digest] != one.name]


def objects_counted(looks: Iterable[Look], classes: int) -> bool:
    """Whether the numbers of the masks look like those of objects (1, 2, 3, ... cells).

    Nearly every number is one piece in nearly every mask; and there are many numbers, or every mask
    counts from 1 without a gap, to other ends.
    """
    told = [one for one in looks if one.one_piece is not None]
    if classes < 3 or not told or np.mean([one.one_piece >= NEARLY for one in told]) < NEARLY:
        return False
    ends = [(max(one.shares), len(one.shares.keys() - {0})) for one in told]
    counted = np.mean([top == count for top, count in ends]) >= NEARLY
    return classes > FEW_CLASSES or bool(counted and len(told) > 2 and len(set(ends)) > 1)


def _on_classes(seen: Inspection) -> list[str]:
    """Which classes are covered, which no mask has, and which of the others none of train has."""
    listing, notes, count = seen.listing, [], len(seen.classes)
    for name, images in listing.covered.items():
        notes.append(
            f"{len(images)} object(s) of class {name} are covered whole by later ones "
            f"({first(sorted(set(images)))}); list the smaller objects later in {listing.where}."
        )
    everywhere = set().union(*map(seen.numbers, seen.looks))
    train = listing.splits["train"]
    learnt = set().union(*map(seen.numbers, train)) if train else everywhere
    absent = [c for n, c in enumerate(seen.classes, 1) if n not in everywhere]
    if absent and count > 1:
        remedy = "; if their numbers mean no class, renumber the masks from 1 without gaps"
        remedy = "" if listing.classes else remedy
        notes.append(f"{len(absent)} of {count} classes are in no mask: {first(absent)}{remedy}.")
    unlearnt = [c for n, c in enumerate(seen.classes, 1) if n in everywhere - learnt]
    if unlearnt and count > 1:
        where = f"are in no image of train: {first(unlearnt)}; they cannot be learnt"
        notes.append(f"{len(unlearnt)} of {count} classes {where}.")
    return notes


def _on_splits(seen: Inspection) -> list[str]:
    looks, splits, notes = seen.looks, seen.listing.splits, []
    used = {name for names in splits.values() for name in names}
    if used and (left := sorted(looks.keys() - used)):
        notes.append(f"{some(left)} in no split; they are not used.")
    prints = {
        split: {n: looks[n].print for n in names if looks[n].print is not None}
        for split, names in splits.items()
    }
    if pairs := near_pairs(prints):
        notes.append(
            f"{some(pairs, 'pair')} across splits look nearly the same; if they are, put both in "
            "one split (groups)."
        )
    return notes
