"""List a COCO instance file of yours: polygons or RLE in one json, and the folder of its images."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from naslora_core.data.listing import Finder, Listing, Tell, attempt, fault, short_names, some, stop
from naslora_core.data.mask_io import draw
from naslora_core.data.splits import SHARES, splits_of

MOST = 254  # categories: masks are uint8, and 255 is IGNORE
BACKGROUND = ("background", "_background_", "__background__", "bg")
EXPORT = "export it again as COCO instances"
Rule = tuple[Callable[[object], bool], str]  # whether a value is good, and what a good one is
ID: Rule = (lambda value: type(value) is int, "a whole number")
SIDE: Rule = (lambda value: type(value) is int and value > 0, "a whole number of pixels")
TEXT: Rule = (lambda value: isinstance(value, str) and value != "", "a text")
SHAPE: Rule = (lambda value: isinstance(value, list | dict), "polygons or RLE (not a box alone)")
NEEDED: dict[str, dict[str, Rule]] = {
    "images": {"id": ID, "file_name": TEXT, "width": SIDE, "height": SIDE},
    "categories": {"id": ID, "name": TEXT},
    "annotations": {"image_id": ID, "category_id": ID, "segmentation": SHAPE},
}


def list_coco(
    path: str | Path,
    split_seed: int = 0,
    groups: str | None = None,
    tell: Tell = stop,
    images: str | Path | None = None,
) -> Listing:
    """The images of a COCO json with their splits; masks are drawn when they are read."""
    if find_spec("pycocotools") is None:
        command = "run: python -m pip install pycocotools"
        raise fault("pycocotools", "is not installed", "it for COCO files", command)
    file = Path(path)
    data = _load(file)
    classes, notes = _classes(data)
    objects = _objects(file, data, classes, tell)
    crowds = sum(bool(one.get("iscrowd")) for one in data["annotations"])
    notes += [f"{crowds} object(s) are marked iscrowd; they are drawn as all others."] * (
        crowds > 0
    )
    files = _files(file, Path(images) if images else None, data["images"], tell)
    entries = dict(zip(files, data["images"], strict=True))
    split_file = file.parent / "split.json"
    splits = attempt(tell, splits_of, file, split_file, files, split_seed, groups) or {}
    files = {name: found for name, found in files.items() if found.is_file()}
    covered: dict[str, list[str]] = defaultdict(list)

    def read(name: str) -> np.ndarray:
        labels, hidden = draw(file, entries[name], objects[entries[name]["id"]], list(classes))
        for category in hidden:
            covered[classes[category]].append(name)
        return labels

    return Listing(
        name=file.stem,
        images=files,
        masks={name: f"Image {entry['id']} of {file}" for name, entry in entries.items()},
        read=read,
        splits={s: [n for n in splits.get(s, []) if n in files] for s in SHARES},
        where=file,
        remedy="correct width and height in the json, or export it for upright images",
        classes=tuple(classes.values()),
        notes=tuple(notes),
        covered=covered,
    )


def _load(file: Path) -> dict:
    """The lists of NEEDED, each entry with the keys that we read; UserError for any other file."""
    if not file.is_file():
        raise fault(file, "is no file", "a json of COCO instances", "correct the name")
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        expected = f"COCO's json with {', '.join(NEEDED)}"
        raise fault(file, f"is malformed ({error})", expected, EXPORT) from error
    for key in NEEDED:
        _check_list(file, key, data.get(key) if isinstance(data, dict) else None)
    for key in ("images", "categories"):
        ids = Counter(entry["id"] for entry in data[key])
        if twice := sorted(str(i) for i, count in ids.items() if count > 1):
            given = f"has {some(twice, 'id')} of {key} more than once"
            raise fault(file, given, "one entry an id", "renumber them")
    if (count := len(data["categories"])) > MOST:
        raise fault(file, f"has {count} categories", f"{MOST} or fewer", "join some")
    return data


def _check_list(file: Path, key: str, entries) -> None:
    if not isinstance(entries, list) or not entries:
        given = f"has {key} empty" if entries == [] else f"has no list {key}"
        raise fault(file, given, f"objects with {', '.join(NEEDED[key])}", EXPORT)
    for i, entry in enumerate(entries):
        entry = entry if isinstance(entry, dict) else {}
        for word, (good, expected) in NEEDED[key].items():
            if not good(entry.get(word)):
                value = f"{word} {entry[word]!r:.60}" if word in entry else f"no {word}"
                raise fault(file, f"has {value} in {key}[{i}]", expected, EXPORT)


def _classes(data: dict) -> tuple[dict[int, str], list[str]]:
    """The categories that are classes, by id, and notes on those that are none: background, and
    the parent of others that no object has."""
    used = {entry["category_id"] for entry in data["annotations"]}
    parents = {c.get("supercategory") for c in data["categories"] if c["id"] in used} - {None}
    classes, notes = {}, []
    for one in sorted(data["categories"], key=lambda c: c["id"]):
        if one["name"].casefold() in BACKGROUND:
            notes.append(f"The category {one['name']} is not a class; its objects are not drawn.")
        elif one["id"] not in used and one["name"] in parents:
            notes.append(
                f"The category {one['name']} has no object, only others below it; no class."
            )
        else:
            classes[one["id"]] = one["name"]
    return classes, notes


def _objects(file: Path, data: dict, classes: Mapping, tell: Tell) -> dict[int, list[dict]]:
    """The annotations of each image, those of no class aside; links to nothing are told of."""
    listed = [
        entry | {"name": f"annotation {entry.get('id', f'[{i}]')}"}
        for i, entry in enumerate(data["annotations"])
    ]
    for key, target in {"image_id": "images", "category_id": "categories"}.items():
        attempt(tell, _check_links, file, key, {entry["id"] for entry in data[target]}, listed)
    objects = defaultdict(list)
    for entry in listed:
        if entry["category_id"] in classes:
            objects[entry["image_id"]].append(entry)
    return objects


def _check_links(file: Path, key: str, known: Collection[int], entries: list[dict]) -> None:
    """UserError for the first annotation whose image or category is not listed, with all others."""
    if lost := [entry for entry in entries if entry[key] not in known]:
        values = [str(value) for value in dict.fromkeys(entry[key] for entry in lost)]
        names = some([entry["name"] for entry in lost], "annotation")
        given = f"has {names} with {some(values, key)} that no entry has as its id"
        expected = f"one of the {len(known)} that are listed"
        raise fault(file, given, expected, "correct or remove the annotations")


def _files(file: Path, root: Path | None, images: list[dict], tell: Tell) -> dict[str, Path]:
    """The file of each image in the place that holds most of them."""
    paths = [image["file_name"].replace("\\", "/") for image in images]
    find = Finder(root) if root else _place(file.resolve().parent, paths)
    found = {path: find(path) for path in paths}
    if lost := sorted(path for path in paths if found[path] is None):
        given = f"names {some(lost)} that {find.root} does not hold"
        remedy = f"put them there, or correct the names{find.likely(lost[0])}"
        tell(fault(file, given, "every file_name beside the json or in images/", remedy))
    names = short_names(file, paths)
    return {n: found[p] or find.root / p for n, p in zip(names, paths, strict=True)}


def _place(folder: Path, paths: list[str]) -> Finder:
    """Beside the json, or in images/ there or one folder up; else the one other folder near it
    that holds all images."""
    usual = [Finder(p) for p in (folder, folder / "images", folder.parent / "images")]
    held = [sum(find(path) is not None for path in paths) for find in usual]
    if any(held):
        return usual[held.index(max(held))]
    near = [p for top in (folder, folder.parent) for part in ("*", "*/*") for p in top.glob(part)]
    whole = {p for p in near if p.is_dir() and all((p / path).is_file() for path in paths)}
    return Finder(whole.pop()) if len(whole) == 1 else usual[0]
