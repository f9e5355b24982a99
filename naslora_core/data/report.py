"""What a check found: a table, the faults, and sentences on what is unusual."""

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from naslora_core.data.dataset import IGNORE
from naslora_core.data.inspection import MEGAPIXELS, Inspection, Look
from naslora_core.data.splits import near_pairs
from naslora_core.errors import first, printable

COLUMNS = ("part", "images", "size (min / median / max)", "empty", "foreground (median, range)")
FEW_CLASSES = 8  # up to so many, numbers are taken for classes unless every mask counts from 1
NEARLY = 0.9  # of a mask's numbers or pixels, and of the masks
KINDS = {  # of a look: what a note says of the images that are so
    "converted": "of grey, palette, CMYK or with alpha; they are converted to RGB, without alpha",
    "deep": "of 16 bits or more; each is spread over 0..255: do not compare their brightness",
    "nodata": 'with a value far from all others, taken for "no data": black, the others spread',
    "turned": "turned by their EXIF orientation; they are read upright, as their masks must be",
    "frames": "of several frames; only the first of each is used",
    "huge": f"over {MEGAPIXELS} megapixels, read in every epoch; train on tiles (--tile SIDE)",
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
        return "\n".join(map(printable, lines))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def report_on(seen: Inspection) -> Report:
    """The report of what was seen."""
    parts = {split: names for split, names in seen.listing.splits.items() if names}
    rows = [_row(part, seen, names) for part, names in (parts | {"all": [*seen.looks]}).items()]
    for number, name in enumerate(seen.classes, 1) if len(seen.classes) > 1 else ():
        names = [n for n in seen.looks if number in seen.numbers(n)]
        rows.append(_row(f"{number}: {name}", seen, names, {number}))
    return Report(seen.listing.name, tuple(rows), seen.faults, notes_on(seen))


def _row(part: str, seen: Inspection, names: list[str], of: set[int] | None = None) -> dict:
    """A row of the table on some images; of: the classes whose foreground counts, None for all."""
    looks = [seen.looks[name] for name in names]
    sizes = sorted((one.size for one in looks if one.size), key=math.prod)
    picked = [sizes[0], sizes[len(sizes) // 2], sizes[-1]] if sizes else []
    held = [(one.shares, seen.numbers(one.name)) for one in looks if one.shares]
    percent = [100 * sum(shares[n] for n in found if not of or n in of) for shares, found in held]
    cells = (
        part,
        str(len(looks)),
        " / ".join(f"{width}x{height}" for height, width in picked),
        str(sum(not found for _, found in held)),
        f"{np.median(percent):.3g}%, {min(percent):.3g}% to {max(percent):.3g}%" if held else "",
    )
    return dict(zip(COLUMNS, cells, strict=True))


def notes_on(seen: Inspection) -> tuple[str, ...]:
    """A sentence for each unusual thing: files, pictures and masks, splits, classes."""
    looks, listing, count = seen.looks, seen.listing, len(seen.classes)
    splits, classes = listing.splits, dict(enumerate(seen.classes, 1)) if count > 1 else {}
    used = set().union(*splits.values())
    prints = {
        split: {name: looks[name].print for name in names if looks[name].print is not None}
        for split, names in splits.items()
    }
    everywhere = set().union(*map(seen.numbers, looks))
    learnt = set().union(*map(seen.numbers, splits["train"] or looks))
    unnamed = "" if listing.classes else "; if their numbers mean none, renumber them without gaps"
    counted = not listing.classes and _objects_counted(looks.values(), count)
    from_1 = count > 1 and not listing.classes and not any(0 in x.shares for x in looks.values())
    found = [
        ("image(s)", [name for name, one in looks.items() if kind in one.kinds], words)
        for kind, words in KINDS.items()
    ]
    found += [
        ("image(s)", [name for name, one in looks.items() if one.shares.keys() == {0}],
         "with an empty mask; right if nothing is to be found there"),
        ("mask(s)", _full(seen),
         "with an object in most of the pixels; if the objects are black, swap 0 and 255"),
        ("mask(s)", [*looks] if from_1 else [],
         "have no 0, the background; if 1 is background, subtract 1 in all"),
        ("mask(s)", [name for name, one in looks.items() if seen.ignore and IGNORE in one.shares],
         "with 255 beside class numbers: these pixels are ignored, in loss and scores; if they are "
         "objects, give them the number of their class"),
        ("mask(s)", _alike(looks.values()),
         "are in every pixel as another image's; right if both show the same objects"),
        ("image(s)", sorted(looks.keys() - used) if used else [], "in no split; they are not used"),
        ("pair(s)", near_pairs(prints),
         "across splits look nearly the same; if they are, put both in one split (groups)"),
        ("object(s)", listing.covered,
         f"are covered whole by later ones; list smaller objects later in {listing.where}"),
        (f"of {count} classes", [name for n, name in classes.items() if n not in everywhere],
         f"are in no mask{unnamed}"),
        (f"of {count} classes", [name for n, name in classes.items() if n in everywhere - learnt],
         "are in no image of train; they cannot be learnt"),
        ("numbers", [*classes.values()] if counted else [],
         "of the masks look like object numbers: in nearly every mask nearly every number is one "
         "connected piece; save 0 and 255 if they are"),
    ]  # fmt: skip
    notes = [
        f"{len(names)} {what} ({first(names)}) {words}." for what, names, words in found if names
    ]
    return (*listing.notes, *notes)


def _full(seen: Inspection) -> list[str]:
    """Binary masks that are NEARLY all object; those of half, where NEARLY all masks are so."""
    shares = {n: sum(one.shares[v] for v in seen.numbers(n)) for n, one in seen.looks.items()}
    most = [name for name, share in shares.items() if share > 0.5]
    all_so = len(most) > NEARLY * len(shares)
    binary = len(seen.classes) == 1 and not seen.listing.classes
    return [name for name in most if binary and (all_so or shares[name] > NEARLY)]


def _alike(looks: Iterable[Look]) -> list[str]:
    """The names of masks with an object that are as one before them."""
    held = [one for one in looks if one.shares.keys() - {0}]
    first_of = {one.mask_digest: one.name for one in reversed(held)}
    return [one.name for one in held if first_of[one.mask_digest] != one.name]


def _objects_counted(looks: Iterable[Look], classes: int) -> bool:
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
