"""A csv of yours: one row an image, with the paths of the image and of its mask.

Everything is looked at before anything is returned, and nothing is ever written there.
"""

import csv
from pathlib import Path

from naslora_core.data.image_io import read_mask
from naslora_core.data.index import Dataset, Listing, Tell, attempt, keep, stop, to_dataset
from naslora_core.data.names import short_names, some
from naslora_core.data.splits import SHARES, check_ids, groups_by, hashed_at, no_shared_groups
from naslora_core.errors import UserError

Rows = list[dict[str, str]]
EXAMPLE = "images/a.png,masks/a.png"


def csv_table(path: str | Path, split_seed: int = 0, groups: str | None = None) -> Dataset:
    """The images of a csv with columns `image` and `label`: paths from the csv's folder.

    A column `split` (train, val or test) splits them, else a hash of their names; images of one
    value in a column `group`, or of one group of the expression `groups`, fall in one split.
    Masks are as `folder` has them. Raises UserError, naming the row or file and the remedy.
    """
    return to_dataset(list_table(path, split_seed, groups))


def list_table(
    path: str | Path, split_seed: int = 0, groups: str | None = None, tell: Tell = stop
) -> Listing:
    """The rows of a csv as names with their files and splits; no picture is opened yet."""
    file = Path(path)
    rows = _rows(file)
    names = short_names(file, [row["image"] for row in rows])
    table = dict(zip(names, rows, strict=True))
    splits = attempt(tell, _splits, file, table, split_seed, groups)
    images, masks = (_paths(file, table, column, tell) for column in ("image", "label"))
    images = {n: image for n, image in images.items() if image.is_file() and masks[n].is_file()}
    splits, where = keep(splits, images), f"column label of {file}"
    read, notes = (lambda n: read_mask(masks[n])), _beside(file)
    return Listing(file.stem, images, masks, read, splits, where, notes=notes)


def _beside(file: Path) -> tuple[str, ...]:
    """A note on a split.json, which folders and COCO files have and a csv does not."""
    if not (other := file.with_name("split.json")).is_file():
        return ()
    return (f"{other} is not read: a csv says its splits in a column `split` (train, val, test).",)


def _rows(file: Path) -> Rows:
    """The rows below the head, with every cell that we read filled, without blanks around it."""
    if not file.is_file():
        raise UserError(f"There is no file {file}; expected a csv with columns image,label.")
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            cells = [[cell.strip() for cell in row] for row in csv.reader(lines)]
        (_, head), *rows = [(i, row) for i, row in enumerate(cells, 1) if any(row)]
    except (ValueError, csv.Error) as error:  # no text, or no row at all
        raise UserError(
            f"{file} does not read as a csv ({error}); expected UTF-8 text with the head "
            f"image,label and rows like {EXAMPLE}; export it again."
        ) from error
    _check_head(file, head)
    if not rows:
        raise UserError(
            f"{file} has no row below its head; expected rows like {EXAMPLE}; add some."
        )
    return [_row(file, number, head, row) for number, row in rows]


def _check_head(file: Path, head: list[str]) -> None:
    lost = [column for column in ("image", "label") if head.count(column) != 1]
    if lost:
        raise UserError(
            f"{file} has the columns {', '.join(map(repr, head))}; expected {' and '.join(lost)} "
            "once, in small letters, separated by commas; mend its first line."
        )


def _row(file: Path, number: int, head: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(head):
        raise UserError(
            f"{file}: row {number} has {len(cells)} cells, its head {len(head)}; expected as many; "
            "quote paths that hold a comma."
        )
    row = dict(zip(head, cells, strict=True))
    for column in ("image", "label", "split", "group"):
        if row.get(column) == "":
            raise UserError(
                f"{file}: row {number} has nothing in column {column}; expected a value in every "
                "row; fill it or remove the row."
            )
    return row


def _paths(file: Path, table: dict[str, dict], column: str, tell: Tell) -> dict[str, Path]:
    """The files of a column; those that are missing are told of."""
    paths = {n: file.parent / row[column].replace("\\", "/") for n, row in table.items()}
    missing = sorted(row[column] for n, row in table.items() if not paths[n].is_file())
    if missing:
        tell(
            UserError(
                f"{file}: column {column} names {some(missing, 'file')} that do not exist; "
                f"expected paths from {file.parent}; correct them or remove their rows."
            )
        )
    return paths


def _splits(file: Path, table: dict[str, dict], seed: int, pattern: str | None):
    groups = _groups(file, table, pattern)
    if "split" not in next(iter(table.values())):
        return hashed_at(file, table, seed, groups)
    for name, row in table.items():
        if row["split"] not in SHARES:
            raise UserError(
                f"{file} has split {row['split']!r} for {name}; expected train, val or test; "
                "rename it."
            )
    splits = {s: [name for name, row in table.items() if row["split"] == s] for s in SHARES}
    for split, names in splits.items():
        check_ids(file, split, names, set(table))
    if groups:
        no_shared_groups(file, splits, groups)
    return splits


def _groups(file: Path, table: dict[str, dict], pattern: str | None) -> dict[str, str] | None:
    column = {name: row["group"] for name, row in table.items() if "group" in row}
    if column and pattern:
        raise UserError(
            f"{file} has a column group, and groups={pattern!r} is given too; expected one of "
            "them; leave groups away, or rename the column."
        )
    return groups_by(pattern, table) if pattern else column or None
