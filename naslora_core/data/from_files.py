"""List a folder or a csv of yours: every image is a file, and its mask is a file beside it."""

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from naslora_core.data.image_io import ENDINGS
from naslora_core.data.listing import Finder, Listing, attempt, composed, likely, names_of, partners
from naslora_core.data.mask_io import read_mask
from naslora_core.data.splits import SHARES, Splits, file_splits, groups_by, splits_of
from naslora_core.errors import UserError, fault, first, some

EXAMPLE = "rows like images/a.png,masks/a.png"
LISTS_ALL = re.compile(r"\.csv$|(coco|instances|annotations).*\.json$")  # by its name
COLUMNS = ("image", "label", "split", "group")
Files = Mapping[str, Path]
Table = Mapping[str, dict[str, str]]  # name of the image -> its row


def list_folder(root: Path, groups: str | None = None) -> Listing:
    """The names in `images/` and `masks/` with their files and splits; no picture is opened yet."""
    faults, notes = [], []
    if not root.is_dir():
        remedy = "correct the name; unpack an archive; of a picture, name its folder"
        raise fault(root, "is no folder", "one with images/ and masks/, a csv or a json", remedy)
    folders = _part(root, "images"), _part(root, "masks")
    images, masks = (_files(where, faults, notes) for where in folders)
    masks = partners(images, masks)
    where, file = root / "images", root / "split.json"
    splits = attempt(faults, file_splits, where, file, images, groups)
    if lonely := sorted(images.keys() - masks.keys()):
        free = [mask.name for name, mask in masks.items() if name not in images]
        given = f"has {some(lonely)} without a mask in {root / 'masks'}{likely(lonely[0], free)}"
        faults.append(fault(where, given, "one of the same name", "rename it, or remove the image"))
    if unseen := sorted(masks.keys() - images.keys()):
        same = "without an image of the same name"
        notes.append(f"{some(unseen, 'mask')} {same}; they are not used.")
    images = {name: file for name, file in images.items() if name in masks}
    return _of_files(root.resolve().name, images, masks, splits, root / "masks", faults, notes)


def _part(root: Path, name: str) -> Path:
    """The folder `images` or `masks`, in whatever letter case; UserError names what is there."""
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    same = [p for p in folders if p.name.casefold() == name]
    same = [p for p in same if p.name == name] or same
    if len(same) == 1:
        return same[0]
    there = f"; it holds {some([p.name for p in folders], 'folder')}" if folders else ""
    remedy = _meant(root, folders, name)
    raise fault(root, f"has no folder {name}{there}", "images/ and masks/", remedy)


def _meant(root: Path, folders: list[Path], name: str) -> str:
    """What to do where a folder has no `images` or `masks`: the likeliest first."""
    files = sorted([*root.glob("*.*"), *root.glob("*/*.*")])
    tables = [f for f in files if LISTS_ALL.search(f.name.lower())]
    for near in (*folders, root.resolve().parent):
        if all((near / part).is_dir() for part in ("images", "masks")):
            return f"name {near}, which has both"
    if tables:
        return f"name {tables[0]}, if it lists them"
    if drawn := {file.suffix.lower() for file in files} & {".json", ".txt", ".xml"}:
        return f"export {first(sorted(drawn))} annotations as masks in PNG, or all as COCO's json"
    return f"rename one to {name}" if folders else "put them into two folders of these names"


def _files(where: Path, faults: list[UserError], notes: list[str]) -> dict[str, Path]:
    """The picture files of a folder by their names without ending; a note on what is none."""
    visible = sorted(file for file in where.iterdir() if not file.name.startswith("."))
    folders = [file.name for file in visible if file.is_dir()]
    files = [file for file in visible if file.name not in folders]
    pictures = [file for file in files if file.suffix.lower() in ENDINGS]
    kinds = Counter(file.suffix.lower() or "without ending" for file in files)
    others = [f"{count} {kind}" for kind, count in kinds.most_common() if kind not in ENDINGS]
    others += [some(folders, "folder")] if folders else []
    if not pictures:
        given = f"holds no picture{', but ' if others else ''}{', '.join(others)}"
        table = "list them in a csv with columns image, label and split"
        remedy = "convert them, or add some" if others else "add some"
        remedy = f"move their files up (names must differ), or {table}" if folders else remedy
        raise fault(where, given, f"files ending in {', '.join(ENDINGS)} in it", remedy)
    if others:
        notes.append(
            f"{where} also holds {first(others)}; only files ending in {', '.join(ENDINGS)} are "
            "read."
        )
    found: dict[str, Path] = {}
    for file in pictures:
        if other := found.get(composed(file.stem)):
            faults.append(fault(file, f"and {other.name} share one name", "two", "rename one"))
        found[composed(file.stem)] = file
    return found


def list_csv(file: Path, groups: str | None = None) -> Listing:
    """The rows of a csv as names with their files and splits; no picture is opened yet."""
    faults, notes = [], []
    rows = _rows(file)
    names = names_of(file, [row["image"] for row in rows])
    table, finder = dict(zip(names, rows, strict=True)), Finder(file.parent)
    images, masks = (
        finder.all(f"{file}, column {column},", {n: table[n][column] for n in names}, faults)
        for column in COLUMNS[:2]
    )
    splits = attempt(faults, _splits, file, table, images, groups)
    images = {n: image for n, image in images.items() if image.is_file() and masks[n].is_file()}
    other = file.with_name("split.json")
    if other.is_file():
        column = "in a column `split` (train, val, test)"
        notes.append(f"{other} is not read: a csv says its splits {column}.")
    where = f"column label of {file}"
    return _of_files(file.stem, images, masks, splits, where, faults, notes)


def _rows(file: Path) -> list[dict[str, str]]:
    """The rows below the head, with every cell that we read filled, without blanks around it."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            cells = [[cell.strip() for cell in row] for row in csv.reader(lines)]
        (_, head), *rows = [(i, row) for i, row in enumerate(cells, 1) if any(row)]
    except (ValueError, csv.Error) as error:  # no text, or no row at all
        expected = f"UTF-8 text with the head image,label and {EXAMPLE}"
        raise fault(file, f"is no csv ({error})", expected, "export it so") from error
    if lost := [column for column in COLUMNS[:2] if head.count(column) != 1]:
        expected = f"{' and '.join(lost)} once, in small letters, separated by commas"
        raise fault(file, f"has the columns {', '.join(map(repr, head))}", expected, "rename them")
    if not rows:
        raise fault(file, "has no row below its head", EXAMPLE, "add some")
    for number, row in rows:
        if len(row) != len(head):
            given = f"has {len(row)} cells in row {number}, {len(head)} in its head"
            raise fault(file, given, "as many", "quote paths that hold a comma")
        if empty := [c for c, cell in zip(head, row, strict=True) if c in COLUMNS and not cell]:
            given = f"has nothing in row {number}, column {empty[0]}"
            raise fault(file, given, "a value", "fill it or remove the row")
    return [dict(zip(head, row, strict=True)) for _, row in rows]


def _splits(file: Path, table: Table, images: Files, pattern: str | None) -> Splits:
    """The splits of the column `split`, or else by hash; groups of the column `group`, or of the
    pattern."""
    columns = next(iter(table.values())).keys()
    groups = groups_by(pattern, table) if pattern else None
    if "group" in columns:
        if pattern:
            given = f"has a column group, and groups={pattern!r} is given too"
            raise fault(file, given, "one of them", "leave groups away, or rename the column")
        groups = {name: row["group"] for name, row in table.items()}
    given = {split: [] for split in SHARES} if "split" in columns else None
    for name, row in table.items() if given else ():
        if row["split"] not in SHARES:
            said = f"has split {row['split']!r} for {name}"
            raise fault(file, said, "train, val or test", "rename it")
        given[row["split"]].append(name)
    return splits_of(file, images, groups, given, file)


def _of_files(name: str, images: Files, masks: Files, splits, where, faults, notes) -> Listing:
    """The listing of files; one that is the mask of several images, also by links, is a fault."""
    users = defaultdict(list)
    for image in images:
        users[Path(os.path.realpath(masks[image]))].append(image)
    if shared := next((file for file, names in users.items() if len(names) > 1), None):
        given = f"has {shared.name} as the mask of {some(users[shared])}"
        remedy = "name the mask of each image, or copy the mask if it is right for each"
        faults.append(fault(where, given, "one mask an image", remedy))
    read, more = (lambda image: read_mask(masks[image])), tuple(notes)
    return Listing(name, images, masks, read, splits, where, faults, notes=more)
