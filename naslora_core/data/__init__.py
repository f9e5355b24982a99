"""Images and their masks: a folder, csv or COCO file of yours, or a registered domain."""

import importlib
from pathlib import Path

from naslora_core.data.data_check import check
from naslora_core.data.from_coco import coco
from naslora_core.data.from_csv import csv_table
from naslora_core.data.from_folder import folder
from naslora_core.data.index import DOMAINS, Dataset, Sample, Split, to_dataset
from naslora_core.data.near_duplicates import duplicates
from naslora_core.data.sources import list_data
from naslora_core.errors import UserError


def open_data(name: str, profile=None, seed: int = 0, groups: str | None = None) -> Dataset:
    """Your data at the path `name`, or a registered domain with the profile's counts and size, or
    its own.

    A folder (see `folder`), a .csv (`csv_table`) or a COCO .json (`coco`); groups as they have it.
    The workbook registers its drawn domains when it is imported.
    Raises UserError for a name that is nothing or a domain's and a folder's too, and for a domain
    with groups.
    """
    if name not in DOMAINS:
        _there(name)
        return to_dataset(list_data(name, groups=groups))
    _only_drawn(name, groups)
    p = profile
    how = p and {"train": p.train, "val": p.val, "test": p.test, "size": p.image_size}
    return DOMAINS[name](name, seed=seed, **(how or {}))


def _there(name: str) -> None:
    if not Path(name).exists():
        drawn = f", or the name of a drawn domain ({', '.join(DOMAINS)})" if DOMAINS else ""
        raise UserError(
            f"There is nothing at {name}; expected a folder with images/ and masks/, a .csv, a "
            f"COCO .json{drawn}; mend the name."
        )


def _only_drawn(name: str, groups: str | None) -> None:
    if Path(name).is_dir():
        raise UserError(
            f"{name} is a drawn domain, and a folder here is called so too; write ./{name} for the "
            "folder, or start in another place for the domain."
        )
    if groups is not None:
        raise UserError(
            f"{name} is a drawn domain and has no patients or sequences to group by {groups!r}; "
            "leave the groups out, or name a folder, a .csv or a .json."
        )


def __getattr__(name: str):
    if name != "to_batch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("naslora_core.data.transforms").to_batch  # imports torch


__all__ = [
    "DOMAINS",
    "Dataset",
    "Sample",
    "Split",
    "check",
    "coco",
    "csv_table",
    "duplicates",
    "folder",
    "open_data",
    "to_batch",
]
