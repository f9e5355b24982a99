"""Everything that is wrong or unusual about data of yours, before a training finds out."""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from naslora_core.data.check_notes import notes_on
from naslora_core.data.image_io import ColourMask, renumber
from naslora_core.data.index import Listing, attempt, class_names
from naslora_core.data.inspection import Look, look
from naslora_core.data.names import shown, some
from naslora_core.data.sources import list_data
from naslora_core.errors import UserError

COLUMNS = ("part", "images", "size (min / median / max)", "empty", "foreground (median, range)")


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
        table = [COLUMNS, *(tuple(row[c] for c in COLUMNS) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        for title, sentences in self._lists():
            lines += [f"{title}:", *(f"  - {sentence}" for sentence in sentences)]
        return "\n".join([self._verdict(), *(lines if self.rows else lines[1:])])

    def _verdict(self) -> str:
        count = len(self.faults)
        return f"{self.name}: " + (f"{count} fault(s) stop a training" if count else "no fault")

    def _lists(self):
        lists = (("Faults", self.faults), ("Notes", self.notes))
        return [(title, sentences) for title, sentences in lists if sentences]

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{c}</th>" for c in COLUMNS)
        cells = ("".join(f"<td>{html.escape(row[c])}</td>" for c in COLUMNS) for row in self.rows)
        table = f"<table><tr>{head}</tr>{''.join(f'<tr>{c}</tr>' for c in cells)}</table>"
        lists = "".join(
            f"<p>{title}</p><ul>{''.join(f'<li>{html.escape(s)}</li>' for s in sentences)}</ul>"
            for title, sentences in self._lists()
        )
        return f"<p>{html.escape(self._verdict())}</p>{table if self.rows else ''}{lists}"


def check(path: str | Path, groups: str | None = None, progress: bool = True) -> Report:
    """Read every image and mask of a folder, csv or COCO json once, and report all that is found.

    Nothing is raised for what is wrong with the data, and nothing is written. groups: as for
    `folder`.
    """
    errors: list[UserError] = []
    listing = attempt(errors.append, list_data, path, 0, groups, errors.append)
    if listing is None:
        return Report(shown(str(path)), (), faults=tuple(map(str, errors)))
    bar = tqdm(sorted(listing.images), desc="check", unit="image", disable=not progress)
    looks = {name: look(listing, name) for name in bar}
    found = {name: set(one.shares) for name, one in looks.items() if one.shares}
    known = len(found) == len(looks) or set().union(*found.values()) - {0}
    named = listing.classes or not known
    classes = listing.classes if named else attempt(errors.append, class_names, listing, found)
    faults = [str(error) for error in errors] + _faults(listing, looks.values())
    rows, notes = (find(listing, looks, classes or ()) for find in (_rows, notes_on))
    return Report(listing.name, tuple(rows), tuple(faults), tuple(notes))


def _faults(listing: Listing, looks: Iterable[Look]) -> list[str]:
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


def _rows(listing: Listing, looks: Mapping[str, Look], classes: tuple[str, ...]) -> list[dict]:
    parts = {split: [looks[n] for n in names] for split, names in listing.splits.items() if names}
    parts["all"] = list(looks.values())
    rows = [_row(part, ones, [one.foreground for one in ones]) for part, ones in parts.items()]
    if len(classes) < 2:
        return rows
    for number, name in enumerate(classes, 1):
        ones = [one for one in looks.values() if one.shares.get(number)]
        rows.append(_row(f"{number}: {name}", ones, [one.shares[number] for one in ones]))
    return rows


def _row(part: str, looks: list[Look], shares: list[float]) -> dict[str, str]:
    sizes = sorted((one.size for one in looks if one.size), key=lambda size: size[0] * size[1])
    picked = [sizes[0], sizes[len(sizes) // 2], sizes[-1]] if sizes else []
    listed = " / ".join(f"{width}x{height}" for height, width in picked)
    empty = sum(one.shares.keys() == {0} for one in looks)
    known = np.array([s for s, one in zip(shares, looks, strict=True) if one.shares])
    middle, low, high = (
        f"{100 * f(known):.3g}%" if len(known) else "" for f in (np.median, np.min, np.max)
    )
    spread = f"{middle}, {low} to {high}" if len(known) else ""
    cells = (part, str(len(looks)), listed, str(empty), spread)
    return dict(zip(COLUMNS, cells, strict=True))
