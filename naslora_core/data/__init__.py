"""Images and their masks: a folder, csv or COCO file of yours, or a registered domain."""

import importlib
from collections.abc import Callable
from pathlib import Path

from naslora_core.data.dataset import (
    IGNORE,
    Dataset,
    Sample,
    Split,
    check_samples,
    content,
    match_classes,
    with_classes,
)
from naslora_core.data.from_coco import list_coco
from naslora_core.data.from_files import list_csv, list_folder
from naslora_core.data.image_io import read_image
from naslora_core.data.inspection import inspect
from naslora_core.data.listing import SHARES, Listing
from naslora_core.data.mask_io import read_mask
from naslora_core.data.report import Report, notes_on, report_on
from naslora_core.errors import UserError, fault
from naslora_core.files import as_path, not_read

DOMAINS: dict[str, Callable[..., Dataset]] = {}  # makers by name; the workbook enters its own


def folder(path: str | Path, groups: str | None = None) -> Dataset:
    """The images of a folder with their masks, split by `split.json` or by a hash of their names.

    Masks hold 0/255 or 0/1 (binary), or class numbers 0..C with 255 for pixels to ignore.
    groups: a regular expression with one group, e.g. r"^(patient\\d+)_": images of names where it
    finds the same fall in one split. Raises UserError, naming file and remedy, for all that `check`
    reports as a fault.
    """
    return _to_dataset(_list(path, groups, list_folder))


def csv_table(path: str | Path, groups: str | None = None) -> Dataset:
    """The images of a csv with columns `image` and `label`: paths from the csv's folder.

    A column `split` (train, val or test) splits them, else a hash of their names; images of one
    value in a column `group` fall in one split. All else is as in `folder`.
    """
    return _to_dataset(_list(path, groups, list_csv))


def coco(path: str | Path, groups: str | None = None) -> Dataset:
    """The images of a COCO json, split by the `split.json` beside it or by a hash of their names.

    The files lie beside the json, in images/ there, or in a folder near it. Categories become 1..C
    in the order of their ids, but for one called background and parents without objects; later
    objects lie over earlier ones. An image without objects is background. Needs pycocotools. All
    else is as in `folder`.
    """
    return _to_dataset(_list(path, groups, list_coco))


def check(path: str | Path, groups: str | None = None, progress: bool = True) -> Report:
    """Read every image and mask of a folder, csv or COCO json once, and report all that is found.

    Nothing is raised for what is wrong with the data, and nothing is written. groups: as for
    `folder`.
    """
    try:
        listing = _list(path, groups)
    except UserError as error:
        return Report(str(path), (), faults=(str(error),))
    return report_on(inspect(listing, progress, keep=False))


def _list(path: str | Path, groups: str | None, reader: Callable | None = None) -> Listing:
    """What the path lists, read by its ending or as `reader` does; UserError where it cannot be."""
    path, by_ending = as_path(path), {".csv": list_csv, ".json": list_coco}
    try:
        ending = "" if path.is_dir() else path.suffix.lower()
        return (reader or by_ending.get(ending, list_folder))(path, groups)
    except OSError as error:
        raise not_read(error.filename or path, error) from error


def _to_dataset(listing: Listing, **how) -> Dataset:
    """Look at every image and mask once, then give them as samples; UserError for the faults."""
    if listing.faults:
        raise listing.faults[0]
    seen = inspect(listing, **how)
    if seen.faults:
        more = len(seen.faults) - 1
        rest = f" {more} more fault(s): python -m naslora_core check lists them." if more else ""
        raise UserError(seen.faults[0] + rest)

    def read(name: str) -> Sample:
        held = seen.kept.pop(name, None) or (read_image(listing.images[name]), listing.read(name))
        return seen.sample(name, *held)

    digests = {name: one.digest for name, one in seen.looks.items()}
    splits = (Split(read, listing.splits[s], digests) for s in SHARES)
    return Dataset(listing.name, seen.classes, *splits, notes=notes_on(seen))


def open_data(name: str, profile=None, seed: int = 0, groups: str | None = None, **how) -> Dataset:
    """Your data at the path `name`, or a registered domain with the profile's counts and size, or
    its own.

    A folder (see `folder`), a .csv (`csv_table`) or a COCO .json (`coco`); groups as they have it.
    The workbook registers its drawn domains when it is imported. how: a bar while files are read
    (progress=True), and which process of several reads them (once), as `inspect` has it. Raises
    UserError for a name that is nothing or both, and for a domain with groups.
    """
    if name not in DOMAINS:
        if not as_path(name).exists():
            drawn = f", or the name of a drawn domain ({', '.join(DOMAINS)})" if DOMAINS else ""
            expected = f"a folder with images/ and masks/, a .csv, a COCO .json{drawn}"
            raise fault(name, "is not there", expected, "correct the name")
        return _to_dataset(_list(name, groups), **how)
    if Path(name).is_dir():
        remedy = f"write ./{name} for the folder, or start in another place for the domain"
        raise fault(name, "is a drawn domain, and a folder here", "one of them", remedy)
    if groups is not None:
        remedy = "leave the groups out, or name a folder, a .csv or a .json"
        raise fault(name, f"is a drawn domain, without {groups!r}", "no groups", remedy)
    if profile is None:
        return DOMAINS[name](name, seed=seed)
    counts = {split: getattr(profile, split) for split in SHARES}
    return DOMAINS[name](name, seed=seed, size=profile.image_size, **counts)


def __getattr__(name: str):
    if name != "to_batch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("naslora_core.data.transforms").to_batch  # imports torch


__all__ = [
    "DOMAINS", "IGNORE", "Dataset", "Sample", "Split", "check", "check_samples", "coco", "content",
    "csv_table", "folder", "match_classes", "open_data", "read_image", "read_mask", "to_batch",
    "with_classes",
]  # fmt: skip
