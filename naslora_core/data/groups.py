"""Images that belong together (one patient, one video) must fall in one split."""

import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from naslora_core.data.names import some
from naslora_core.data.splits import hashed_at, read_splits
from naslora_core.errors import UserError

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
