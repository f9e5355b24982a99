"""List a csv of yours: one row an image, with the paths of the image and of its mask."""

import csv
from collections.abc import Mapping
from pathlib import Path

from naslora_core.data.listing import Finder, Listing, attempt, check_shared, short_names
from naslora_core.data.mask_io import read_mask
from naslora_core.data.splits import SHARES, Splits, among, groups_by, splits_of
from naslora_core.errors import UserError, fault, some

EXAMPLE = "rows like images/a.png,masks/a.png"
Table = Mapping[str, dict[str, str]]  # name of the image -> its row


def list_csv(path: str | Path, split_seed: int = 0, groups: str | None = None) -> Listing:
    """The rows of a csv as names with their files and splits; no picture is opened yet."""
    file, faults = Path(path), []
    rows = _rows(file)
    names = short_names(file, [row["image"] for row in rows])
    table, finder = dict(zip(names, rows, strict=True)), Finder(file.parent)
    images, masks = (_paths(file, table, column, finder, faults) for column in ("image", "label"))
    splits = attempt(faults, _splits, file, table, images, split_seed, groups)
    images = {n: image for n, image in images.items() if image.is_file() and masks[n].is_file()}
    attempt(faults, _check_own, file, images, masks)
    other, notes = file.with_name("split.json"), ()
    if other.is_file():
        notes = (f"{other} is not read: a csv says its splits in a column `split` "
                 "(train, val, test).",)  # fmt: skip
    return Listing(
        name=file.stem,
        images=images,
        masks=masks,
        read=lambda name: read_mask(masks[name]),
        splits=among(splits, images),
        where=f"column label of {file}",
        faults=faults,
        notes=notes,
    )


def _rows(file: Path) -> list[dict[str, str]]:
    """The rows below the head, with every cell that we read filled, without blanks around it."""
    if not file.is_file():
        raise fault(file, "is no file", "a csv with columns image,label", "correct the name")
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            cells = [[cell.strip() for cell in row] for row in csv.reader(lines)]
        (_, head), *rows = [(i, row) for i, row in enumerate(cells, 1) if any(row)]
    except (ValueError, csv.Error) as error:  # no text, or no row at all
        expected = f"UTF-8 text with the head image,label and {EXAMPLE}"
        raise fault(file, f"does not read as a csv ({error})", expected, "export it") from error
    if lost := [column for column in ("image", "label") if head.count(column) != 1]:
        expected = f"{' and '.join(lost)} once, in small letters, separated by commas"
        given = f"has the columns {', '.join(map(repr, head))}"
        raise fault(file, given, expected, "correct its first line")
    if not rows:
        raise fault(file, "has no row below its head", EXAMPLE, "add some")
    return [_row(file, number, head, row) for number, row in rows]


def _row(file: Path, number: int, head: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(head):
        given = f"has {len(cells)} cells in row {number}, {len(head)} in its head"
        raise fault(file, given, "as many", "quote paths that hold a comma")
    row = dict(zip(head, cells, strict=True))
    for column in ("image", "label", "split", "group"):
        if row.get(column) == "":
            given = f"has nothing in row {number}, column {column}"
            raise fault(file, given, "a value in every row", "fill it or remove the row")
    return row


def _paths(
    file: Path, table: Table, column: str, finder: Finder, faults: list[UserError]
) -> dict[str, Path]:
    """The files of a column; missing ones are a fault."""
    found = {name: finder(row[column]) for name, row in table.items()}
    if lost := sorted(table[name][column] for name, path in found.items() if path is None):
        given = f"names {some(lost, 'file')} in column {column} that do not exist"
        remedy = f"correct them or remove their rows{finder.likely(lost[0])}"
        faults.append(fault(file, given, f"paths from {file.parent}", remedy))
    return {n: path or file.parent / table[n][column] for n, path in found.items()}


def _check_own(file: Path, images: Mapping[str, Path], masks: Mapping[str, Path]) -> None:
    """UserError for a mask that is its own image, or the mask of two images."""
    for name, image in images.items():
        if image.resolve() == masks[name].resolve():
            given = f"names {image.name} as the image and as the mask of {name}"
            raise fault(file, given, "another file in column label", "correct the row")
    check_shared(file, {name: masks[name] for name in images}, "correct the rows")


def _splits(
    file: Path, table: Table, images: Mapping[str, Path], seed: int, pattern: str | None
) -> Splits:
    """The splits of the column `split`, or else by hash; groups of the column `group`, or of the
    pattern."""
    first = next(iter(table.values()))
    groups = {name: row["group"] for name, row in table.items()} if "group" in first else None
    if groups and pattern:
        given = f"has a column group, and groups={pattern!r} is given too"
        raise fault(file, given, "one of them", "leave groups away, or rename the column")
    groups = groups_by(pattern, table) if pattern else groups
    if "split" not in first:
        return splits_of(file, images, seed, groups)
    for name, row in table.items():
        if row["split"] not in SHARES:
            given = f"has split {row['split']!r} for {name}"
            raise fault(file, given, "train, val or test", "rename it")
    given = {s: [name for name, row in table.items() if row["split"] == s] for s in SHARES}
    return splits_of(file, table, seed, groups, given, file)
