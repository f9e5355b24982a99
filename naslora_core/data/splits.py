"""Which images are for training, validation and test: a split.json, or a hash of the names.

Images that belong together (one patient, one video) must fall in one split.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from pathlib import Path, PurePosixPath

from naslora_core.data.listing import alike, composed, fault, some, spelling
from naslora_core.errors import UserError

Splits = dict[str, list[str]]
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
LISTS = '{"train": [...], "val": [...], "test": [...]} with lists of image names'
EXAMPLE = r"^(patient\d+)_"


def hashed_splits(groups: Mapping[str, str], seed: int = 0) -> Splits:
    """70/10/20 by a hash of the seed and each name's group: all names of one fall in one split.

    A hash alone decides, whatever other names there are, so data that grow keep their test images.
    With few groups a split can be empty so; then those nearest to its share fill it. Raises
    UserError for fewer than three groups.
    """
    places = {group: place(group, seed) for group in groups.values()}
    if len(places) < len(SHARES):
        raise UserError(
            f"{some(sorted(places), 'group')} are too few for train, val and test; expected 3 or "
            "more; add images, or group by less."
        )
    order = sorted(places, key=places.get)
    test = sum(p < SHARES["test"] for p in places.values())
    val = sum(p < SHARES["test"] + SHARES["val"] for p in places.values())
    test = min(max(test, 1), len(order) - 2)
    val = min(max(val, test + 1), len(order) - 1)
    part = {g: "test" if i < test else "val" if i < val else "train" for i, g in enumerate(order)}
    return {split: [n for n in sorted(groups) if part[groups[n]] == split] for split in SHARES}


def place(group: str, seed: int = 0) -> float:
    """A number in 0..1 that the seed and the group's name alone decide."""
    return int(hashlib.sha256(f"{seed}/{group}".encode()).hexdigest()[:13], 16) / 16**13


def own_groups(images: Mapping[str, Path]) -> dict[str, str]:
    """Each image a group: its folder's name and its own, however the whole path is written."""
    return {
        name: spelling(f"{file.parent.name}/{PurePosixPath(file.name).stem}")
        for name, file in images.items()
    }


def splits_of(
    where: Path, file: Path, images: Mapping[str, Path], seed: int, pattern: str | None
) -> Splits:
    """The splits of `file` where there is one, else by a hash; groups stay in one split.

    where: what a fault of the hash names.
    """
    groups = groups_by(pattern, images) if pattern else None
    if not file.exists():
        return hashed_at(where, groups or own_groups(images), seed)
    splits = read_splits(file, images)
    if groups:
        no_shared_groups(file, splits, groups)
    return splits


def hashed_at(where: Path, groups: Mapping[str, str], seed: int) -> Splits:
    """A split by hash; faults begin with the place."""
    try:
        return hashed_splits(groups, seed)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def read_splits(file: Path, names: Collection[str]) -> Splits:
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
        remedy = "correct it, or delete it for a split by hash"
        raise fault(file, f"is malformed ({error!r:.90})", LISTS, remedy) from error
    known, spelt = {composed(name): name for name in names}, alike(names)
    for split, ids in splits.items():
        splits[split] = [_known(str(n), known, spelt) for n in ids]
        check_ids(file, split, splits[split], set(names))
    for a, b in combinations(SHARES, 2):
        if shared := sorted(set(splits[a]) & set(splits[b])):
            given = f"has {some(shared)} both in {a} and in {b}"
            raise fault(file, given, "each image in one split", "remove it from one")
    return splits


def _known(name: str, known: Mapping[str, str], spelt: Mapping[str, str]) -> str:
    """The image meant by a name that may be spelt otherwise, with a folder or an ending."""
    short = PurePosixPath(spelling(name))
    spellings = (spelling(name), str(short.with_suffix("")) if short.name else "", short.stem)
    found = known.get(composed(name)) or next((spelt[s] for s in spellings if s in spelt), None)
    return found or composed(name)


def check_ids(file: Path, split: str, ids: list[str], names: set[str]) -> None:
    """UserError where a split names an unknown image, none at all, or one twice."""
    if unknown := sorted(set(ids) - names):
        stem, known = PurePosixPath(unknown[0]).stem, sorted(names)
        like = next((other for other in known if PurePosixPath(other).stem == stem), known[0])
        given = f"({split}) names {some(unknown)} that none of the {len(names)} images has"
        expected = f"names without folder and ending where that tells them apart, e.g. {like}"
        raise fault(file, given, expected, "correct or remove them")
    if not ids:
        raise fault(file, f"has no image for {split}", "at least one", "add one")
    if twice := sorted({n for n in ids if ids.count(n) > 1} if len(set(ids)) < len(ids) else ()):
        raise fault(file, f"({split}) lists {some(twice)} twice", "each once", "remove the others")


def groups_by(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """The group of every name: what the one group of the regular expression finds in it.

    Raises UserError for a malformed pattern, one without exactly one group, and unmatched names.
    """
    given = f'groups="{pattern}"'
    try:
        regex = re.compile(pattern)
    except re.error as error:
        expected = f'one with one group, e.g. "{EXAMPLE}"'
        raise fault(given, f"is no regular expression ({error})", expected, "correct it") from error
    if regex.groups != 1:
        remedy = "put it around what images of one patient or sequence share"
        raise fault(given, f"has {regex.groups} groups", f'one, e.g. "{EXAMPLE}"', remedy)
    found = {name: regex.search(name) for name in names}
    if missed := sorted(n for n, match in found.items() if not (match and match[1])):
        remedy = "widen the pattern or rename them"
        raise fault(given, f"finds nothing in {some(missed)}", "a group in every name", remedy)
    return {name: match[1] for name, match in found.items()}


def no_shared_groups(file: Path, splits: Splits, groups: Mapping[str, str]) -> None:
    """UserError where two splits have images of one group."""
    members = {split: {groups[n] for n in names} for split, names in splits.items()}
    for a, b in combinations(members, 2):
        if shared := sorted(members[a] & members[b]):
            given = f"has {some(shared, 'group')} both in {a} and in {b}"
            raise fault(file, given, "a group's images in one split", "move them together")
