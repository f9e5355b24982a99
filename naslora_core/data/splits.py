"""Which images are for training, validation and test, and whether the three are apart.

A split.json says it, or a hash of the names. Images that belong together (one patient, one video)
must fall in one split.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from itertools import combinations
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from naslora_core.data.listing import SHARES, alike, composed, spelling
from naslora_core.errors import fault, some
from naslora_core.files import read

Splits = dict[str, list[str]]
LISTS = '{"train": [...], "val": [...], "test": [...]} with lists of image names'
EXAMPLE = r"^(patient\d+)_"
SIDE, BLUR = 16, 2  # pixels of a thumbnail, and of its blur
# Development images alone (kvasir_polyp, cwfid_cropweed) bear this out: a test holds that copies,
# resized, recompressed or dimmed, correlate so, and no other pair does.
ALIKE = 0.94


def file_splits(where: Path, file: Path, images: Mapping[str, Path], pattern: str | None) -> Splits:
    """The splits of a split.json where there is one, else by a hash; groups by the pattern."""
    groups = groups_by(pattern, images) if pattern else None
    return splits_of(where, images, groups, read_splits(file, images), file)


def splits_of(where: Path, images: Mapping[str, Path], groups, given, file: Path) -> Splits:
    """The `given` splits, checked, or where there are none a split by hash.

    groups: of the images by name; all of one group must be in one split. Faults of given splits
    name the file that has them, others `where`.
    """
    if given is None:
        own = {name: spelling(f"{f.parent.name}/{f.stem}") for name, f in images.items()}
        return hashed_splits(groups or own, where)
    for split, ids in given.items():
        if unknown := sorted(set(ids) - images.keys()):
            like = (get_close_matches(unknown[0], images, 1) or sorted(images))[0]
            said = f"({split}) names {some(unknown)} that none of the {len(images)} images has"
            raise fault(file, said, f"names such as {like}", "correct or remove them")
        if not ids:
            raise fault(file, f"has no image for {split}", "at least one", "add one")
        if twice := sorted(name for name, count in Counter(ids).items() if count > 1):
            said = f"({split}) lists {some(twice)} twice"
            raise fault(file, said, "each once", "remove the others")
    _check_apart(file, given, {name: name for name in images}, "image")
    if groups:
        _check_apart(file, given, groups, "group")
    return given


def hashed_splits(groups: Mapping[str, str], where: Path | str = "The data") -> Splits:
    """70/10/20 by a hash of each name's group: all names of one fall in one split.

    A hash alone decides, whatever other names there are, so data that grow keep their test images.
    With few groups a split can be empty so; then those nearest to its share fill it. Raises
    UserError for fewer than three groups.
    """

    places = {}  # of the groups, in 0..1
    for group in groups.values():
        digest = hashlib.sha256(f"0/{group}".encode(errors="surrogatepass"))
        places[group] = int(digest.hexdigest()[:13], 16) / 16**13
    if len(places) < len(SHARES):
        given = f"has {some(sorted(places), 'group')}, too few for train, val and test"
        raise fault(where, given, "3 or more", "add images, or group by less")
    order = sorted(places, key=places.get)
    test = sum(p < SHARES["test"] for p in places.values())
    val = sum(p < SHARES["test"] + SHARES["val"] for p in places.values())
    test = min(max(test, 1), len(order) - 2)
    val = min(max(val, test + 1), len(order) - 1)
    part = {g: "test" if i < test else "val" if i < val else "train" for i, g in enumerate(order)}
    return {split: [n for n in sorted(groups) if part[groups[n]] == split] for split in SHARES}


def read_splits(file: Path, names: Collection[str]) -> Splits | None:
    """The lists of a split.json, with the `names` meant by its own; None where there is none.

    A name may be spelt otherwise, with a folder or an ending. UserError for a malformed file.
    """
    if not file.exists():
        return None
    held = read(file)
    try:
        found = json.loads(held.decode("utf-8-sig"))
        splits = {s: found[s] + [] for s in SHARES}  # lists
    except (ValueError, KeyError, TypeError) as error:
        raise fault(file, f"is malformed ({error!r:.90})", LISTS, "correct or delete it") from error
    known, spelt = {composed(name): name for name in names}, alike(names)

    def meant(name: str) -> str:
        short = PurePosixPath(spelling(name))
        whole = str(short.with_suffix("")) if short.name else ""
        found = (spelt.get(so) for so in (spelling(name), whole, short.stem))
        return known.get(composed(name)) or next(filter(None, found), composed(name))

    return {split: [meant(str(name)) for name in ids] for split, ids in splits.items()}


def _check_apart(file: Path, splits: Splits, of: Mapping[str, str], what: str) -> None:
    """UserError where two splits share an image, or images of one group. of: name -> which one."""
    members = {split: {of[name] for name in names} for split, names in splits.items()}
    for a, b in combinations(members, 2):
        if shared := sorted(members[a] & members[b]):
            given = f"has {some(shared, what)} both in {a} and in {b}"
            raise fault(file, given, f"each {what} in one split", "move or remove them")


def groups_by(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """The group of every name: what the one group of the regular expression finds in it; UserError
    for a malformed pattern, one without exactly one group, and unmatched names."""
    given, wrong = f'groups="{pattern}"', ""
    try:
        regex = re.compile(pattern)
        wrong = f"has {regex.groups} groups" if regex.groups != 1 else ""
    except re.error as error:
        wrong = f"is no regular expression ({error})"
    if wrong:
        raise fault(given, wrong, f'one group, e.g. "{EXAMPLE}" for patients', "put one around it")
    found = {name: regex.search(name) for name in names}
    if missed := sorted(n for n, match in found.items() if not (match and match[1])):
        raise fault(
            given, f"finds nothing in {some(missed)}", "a group in all", "widen the pattern"
        )
    return {name: match[1] for name, match in found.items()}


def print_of(image: np.ndarray) -> np.ndarray:
    """What an image `H W 3` is compared by: a grey thumbnail of 16 x 16 pixels less its blur, `256`
    with mean 0 and norm 1.

    Size, brightness, contrast and compression hardly move it; flips and turns do.
    """
    grey = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, np.float32)
    fine = (values - gaussian_filter(values, BLUR)).ravel()
    fine -= fine.mean()
    return fine / max(np.linalg.norm(fine), 1e-9)


def near_pairs(prints: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """The pairs across splits (split -> name -> print) that correlate to ALIKE or more, as
    "split/name ~ split/name", the nearest first. Nothing here is proof: look at them."""
    pairs = []
    for a, b in combinations([split for split in prints if prints[split]], 2):
        alike = np.stack([*prints[a].values()]) @ np.stack([*prints[b].values()]).T
        names = list(prints[a]), list(prints[b])
        for i, j in np.argwhere(alike >= ALIKE):
            pairs.append((-alike[i, j], f"{a}/{names[0][i]} ~ {b}/{names[1][j]}"))
    return [pair for _, pair in sorted(pairs)]
