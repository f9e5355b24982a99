"""Which images are for training, validation and test: a split.json, or a hash of the names."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from naslora_core.errors import UserError

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


def hashed_splits(names: Collection[str], seed: int = 0) -> dict[str, list[str]]:
    """70/10/20 in the order of a hash of seed and name: the same on every machine.

    Raises UserError for fewer than three names.
    """
    if len(names) < len(SHARES):
        raise UserError(
            f"{len(names)} image(s) are too few for train, val and test; expected 3 or more."
        )
    order = sorted(names, key=lambda n: hashlib.sha256(f"{seed}/{n}".encode()).hexdigest())
    val, test = (max(1, round(len(order) * SHARES[s])) for s in ("val", "test"))
    train = len(order) - val - test
    return {"train": order[:train], "val": order[train : train + val], "test": order[-test:]}


def read_splits(file: Path, names: Collection[str]) -> dict[str, list[str]]:
    """The lists of a split.json over known `names`; names in no list are left out.

    Raises UserError when it is malformed, a list is empty or names an unknown image, or two lists
    share one.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        splits = {s: found[s] for s in SHARES}
        if not all(isinstance(ids, list) for ids in splits.values()):
            raise TypeError("a split is not a list")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f'{file} is malformed ({error!r}); expected {{"train": [...], "val": [...], "test": '
            "[...]}} with lists of image names; mend it, or delete it for a split by hash."
        ) from error
    splits = {s: [str(n) for n in ids] for s, ids in splits.items()}
    for split, ids in splits.items():
        _check_ids(file, split, ids, set(names))
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        if shared := sorted(set(splits[a]) & set(splits[b])):
            raise UserError(
                f"{file} has {some(shared)} both in {a} and in {b}; keep each in one split."
            )
    return splits


def _check_ids(file: Path, split: str, ids: list[str], names: set[str]) -> None:
    unknown = sorted(set(ids) - names)
    if unknown:
        raise UserError(
            f"{file}: {split} names {some(unknown)} that images/ does not hold; expected file "
            "names without folder and ending; correct or remove them."
        )
    if not ids:
        raise UserError(f"{file}: {split} is empty; expected at least one image name; add one.")
    if len(set(ids)) < len(ids):
        twice = sorted({n for n in ids if ids.count(n) > 1})
        raise UserError(f"{file}: {split} lists {some(twice)} twice; list each image once.")


def some(names: list[str]) -> str:
    """How many, and the first three."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} image(s) ({', '.join(names[:3])}{rest})"
