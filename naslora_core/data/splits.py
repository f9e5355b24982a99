"""Which images are for training, validation and test: a split.json, or a hash of the names.

Images that belong together (one patient, one video) must fall in one split.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from pathlib import Path, PurePosixPath

from naslora_core.data.names import composed, some
from naslora_core.errors import UserError

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


def hashed_splits(names: Collection[str], seed: int = 0) -> dict[str, list[str]]:
    """70/10/20 in the order of a hash of seed and name: the same on every machine.

    Raises UserError for fewer than three names.
    """
    if len(names) < len(SHARES):
        raise UserError(
            f"{len(names)} image(s) are too few for train, val and test; expected 3 or more; add "
            "some."
        )
    order = sorted(names, key=lambda n: hashlib.sha256(f"{seed}/{n}".encode()).hexdigest())
    val, test = (max(1, round(len(order) * SHARES[s])) for s in ("val", "test"))
    train = len(order) - val - test
    return {"train": order[:train], "val": order[train : train + val], "test": order[-test:]}


def grouped_splits(groups: Mapping[str, str], seed: int = 0) -> dict[str, list[str]]:
    """70/10/20 of the groups by their hash: all images (name -> group) of one fall in one split.

    Raises UserError for fewer than three groups.
    """
    members: dict[str, list[str]] = {}
    for name in sorted(groups):
        members.setdefault(groups[name], []).append(name)
    if len(members) < len(SHARES):
        raise UserError(
            f"{some(sorted(members), 'group')} are too few for train, val and test; expected 3 or "
            "more; add images of others, or group by less."
        )
    splits = hashed_splits(members, seed)
    return {split: [n for g in chosen for n in members[g]] for split, chosen in splits.items()}


def hashed_at(
    where: Path, names: Collection[str], seed: int, groups: Mapping[str, str] | None
) -> dict[str, list[str]]:
    """A split by hash, of groups if there are any; faults begin with the place."""
    try:
        return grouped_splits(groups, seed) if groups else hashed_splits(names, seed)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def read_splits(file: Path, names: Collection[str]) -> dict[str, list[str]]:
    """The lists of a split.json over known `names`; names in no list are left out.

    Raises UserError when it is malformed, a list is empty or names an unknown image, or two lists
    share one.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
        splits = {s: found[s] for s in SHARES}
        if not all(isinstance(ids, list) for ids in splits.values()):
            raise TypeError("a split is not a list")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f'{file} is malformed ({error!r:.90}); expected {{"train": [...], "val": [...], '
            '"test": [...]} with lists of image names; mend it, or delete it for a split by hash.'
        ) from error
    splits = {s: [composed(str(n)) for n in ids] for s, ids in splits.items()}
    for split, ids in splits.items():
        check_ids(file, split, ids, set(names))
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        if shared := sorted(set(splits[a]) & set(splits[b])):
            raise UserError(
                f"{file} has {some(shared)} both in {a} and in {b}; keep each in one split."
            )
    return splits


def check_ids(file: Path, split: str, ids: list[str], names: set[str]) -> None:
    """UserError where a split names an unknown image, none at all, or one twice."""
    unknown = sorted(set(ids) - names)
    if unknown:
        raise UserError(
            f"{file}: {split} names {some(unknown)} that none of the {len(names)} images has; "
            "expected file names without folder and ending where that tells them apart, e.g. "
            f"{_like(unknown[0], names)}; correct or remove them."
        )
    if not ids:
        raise UserError(f"{file}: {split} is empty; expected at least one image name; add one.")
    if len(set(ids)) < len(ids):
        twice = sorted({n for n in ids if ids.count(n) > 1})
        raise UserError(f"{file}: {split} lists {some(twice)} twice; list each image once.")


def _like(name: str, names: Iterable[str]) -> str:
    """A known name: one of the same file if there is any, else the first."""
    known = sorted(names)
    stem = PurePosixPath(name).stem
    return next((other for other in known if PurePosixPath(other).stem == stem), known[0])


EXAMPLE = r"^(patient\d+)_"


def groups_by(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """The group of every name: what the one group of the regular expression finds in it.

    Raises UserError for a malformed pattern, one without exactly one group, and unmatched names.
    """
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f'groups="{pattern}" is no regular expression ({error}); expected one with one group, '
            f'e.g. "{EXAMPLE}"; mend it.'
        ) from error
    if regex.groups != 1:
        raise UserError(
            f'groups="{pattern}" has {regex.groups} groups in parentheses; expected one, e.g. '
            f'"{EXAMPLE}"; put it around what images of one patient or sequence share.'
        )
    found = {name: regex.search(name) for name in names}
    missed = sorted(n for n, match in found.items() if not (match and match[1]))
    if missed:
        raise UserError(
            f'groups="{pattern}" finds nothing in {some(missed)}; expected a group in every name; '
            "widen the pattern or rename them."
        )
    return {name: match[1] for name, match in found.items()}


def splits_of(
    where: Path, file: Path, names: Iterable[str], seed: int, pattern: str | None
) -> dict[str, list[str]]:
    """The splits of `file` where there is one, else by a hash; groups stay in one split.

    where: what a fault of the hash names.
    """
    names = list(names)
    groups = groups_by(pattern, names) if pattern else None
    if not file.exists():
        return hashed_at(where, names, seed, groups)
    splits = read_splits(file, names)
    if groups:
        no_shared_groups(file, splits, groups)
    return splits


def no_shared_groups(
    file: Path, splits: Mapping[str, list[str]], groups: Mapping[str, str]
) -> None:
    """UserError where two splits have images of one group."""
    members = {split: {groups[n] for n in names} for split, names in splits.items()}
    for a, b in combinations(members, 2):
        if shared := sorted(members[a] & members[b]):
            raise UserError(
                f"{file} has {some(shared, 'group')} both in {a} and in {b}; expected all images "
                "of a group in one split; move them together."
            )
