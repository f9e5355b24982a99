"""Data of yours by its path: a folder, a .csv or a .json."""

from pathlib import Path

from naslora_core.data.from_coco import list_coco
from naslora_core.data.from_csv import list_table
from naslora_core.data.from_folder import list_folder
from naslora_core.data.index import Listing, Tell, stop
from naslora_core.data.names import check_text

KINDS = {".csv": list_table, ".json": list_coco}


def list_data(
    path: str | Path, split_seed: int = 0, groups: str | None = None, tell: Tell = stop
) -> Listing:
    """What the path lists, by its ending; `tell` gets the faults that leave something to read."""
    check_text("The path of your data", [str(path)])
    kind = KINDS.get(Path(path).suffix.lower(), list_folder)
    if Path(path).is_dir():
        kind = list_folder
    return kind(path, split_seed, groups, tell)
