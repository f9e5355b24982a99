"""List a COCO instance file of yours: polygons or RLE in one json, and the folder of its images."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from naslora_core.data.listing import Finder, Listing, attempt, names_of
from naslora_core.data.splits import file_splits
from naslora_core.errors import UserError, fault, some

MOST = 254  # categories: masks are uint8, and 255 is IGNORE
FAR = 2**31  # pixels; no place in an image is so far
SLACK = 1  # pixels that a polygon may lie outside: annotation tools round
BACKGROUND = ("background", "_background_", "__background__", "bg")
EXPORT = "export it again as COCO instances, with polygons or RLE"
NEEDED = {  # of every entry, with the type of its value
    "images": {"id": int, "file_name": str, "width": int, "height": int},
    "categories": {"id": int, "name": str},
    "annotations": {"image_id": int, "category_id": int, "segmentation": (list, dict)},
}


def list_coco(file: Path, groups: str | None = None) -> Listing:
    """The images of a COCO json with their splits; masks are drawn when they are read."""
    if find_spec("pycocotools") is None:
        raise fault("pycocotools", "is missing", "it for COCO", "python -m pip install pycocotools")
    faults, data = [], _load(file)
    classes, notes = _classes(data)
    objects, covered = _objects(file, data, classes, faults), []
    if crowds := sum(bool(one.get("iscrowd")) for one in data["annotations"]):
        notes.append(f"{crowds} object(s) are marked iscrowd; they are drawn as all others.")
    paths = [image["file_name"].replace("\\", "/") for image in data["images"]]
    names = dict(zip(names_of(file, paths), paths, strict=True))
    files = _place(file.resolve().parent, paths).all(str(file), names, faults)
    entries = dict(zip(files, data["images"], strict=True))
    split_file = file.with_name("split.json")
    splits = attempt(faults, file_splits, file, split_file, files, groups)

    def read(name: str) -> np.ndarray:
        labels, hidden = draw(file, entries[name], objects[entries[name]["id"]], list(classes))
        covered.extend(f"{classes[category]} in {name}" for category in hidden)
        return labels

    return Listing(
        name=file.stem,
        images={name: found for name, found in files.items() if found.is_file()},
        masks={name: f"Image {entry['id']} of {file}" for name, entry in entries.items()},
        read=read,
        splits=splits,
        where=file,
        faults=faults,
        remedy="correct width and height in the json, or export it for upright images",
        classes=tuple(classes.values()),
        sizes={name: (entry["height"], entry["width"]) for name, entry in entries.items()},
        notes=tuple(notes),
        covered=covered,
    )


def _load(file: Path) -> dict:
    """The lists of NEEDED, each entry with the keys that we read; UserError for any other file."""
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        expected = f"a json with {', '.join(NEEDED)}"
        raise fault(file, f"is malformed ({error})", expected, EXPORT) from error
    for key, needed in NEEDED.items():
        entries, words = data.get(key) if isinstance(data, dict) else None, ", ".join(needed)
        if not isinstance(entries, list) or not entries:
            raise fault(file, f"has no list {key}, or an empty one", f"one with {words}", EXPORT)
        for i, entry in enumerate(entries):
            entry = entry if isinstance(entry, dict) else {}
            for word, kind in needed.items():
                value, side = entry.get(word), word in ("width", "height")
                wrong = not isinstance(value, kind) or isinstance(value, bool) or value == ""
                if wrong or (side and value < 1):
                    said = f"{word} {value!r:.60}" if word in entry else f"no {word}"
                    raise fault(file, f"has {said} in {key}[{i}]", f"{words} in each", EXPORT)
    for key, word in (("images", "id"), ("categories", "id"), ("categories", "name")):
        found = Counter(entry[word] for entry in data[key])
        if twice := sorted(str(i) for i, count in found.items() if count > 1):
            given = f"has {some(twice, word)} of {key} more than once"
            raise fault(file, given, f"each {word} once", f"give each its own {word}")
    if (count := len(data["categories"])) > MOST:
        raise fault(file, f"has {count} categories", f"{MOST} or fewer", "join some")
    return data


def _classes(data: dict) -> tuple[dict[int, str], list[str]]:
    """The categories that are classes, by id, and notes on those that are none: background, and
    those without an object that others, at any depth, have above them."""
    used = {entry["category_id"] for entry in data["annotations"]}
    parents = [c.get("supercategory") for c in data["categories"]]
    classes, notes = {}, []
    for one in sorted(data["categories"], key=lambda c: c["id"]):
        name = one["name"]
        if name.casefold() in BACKGROUND:
            notes.append(f"The category {name} is not a class; its objects are not drawn.")
        elif one["id"] not in used and name in parents:
            notes.append(f"The category {name} has no object, only others below it; no class.")
        else:
            classes[one["id"]] = name
    return classes, notes


def _objects(
    file: Path, data: dict, classes: Mapping, faults: list[UserError]
) -> dict[int, list[dict]]:
    """The annotations of each image, those of no class aside; links to nothing are faults."""
    objects = defaultdict(list)
    for i, entry in enumerate(data["annotations"]):
        entry["name"] = f"annotation {entry.get('id', f'[{i}]')}"
        if entry["category_id"] in classes:
            objects[entry["image_id"]].append(entry)
    for key, target in {"image_id": "images", "category_id": "categories"}.items():
        ids = {entry["id"] for entry in data[target]}
        if lost := [entry for entry in data["annotations"] if entry[key] not in ids]:
            values = [str(value) for value in dict.fromkeys(entry[key] for entry in lost)]
            names = some([entry["name"] for entry in lost], "annotation")
            given = f"has {names} with {some(values, key)} that no entry has as its id"
            faults.append(fault(file, given, f"one of those {len(ids)}", "correct or remove them"))
    return objects


def _place(folder: Path, paths: list[str]) -> Finder:
    """The place of most of them: beside the json, images/ there or one folder up, or one near."""
    usual = [Finder(p) for p in (folder, folder / "images", folder.parent / "images")]
    held = [sum(find(path) is not None for path in paths) for find in usual]
    if any(held):
        return usual[held.index(max(held))]
    near = [p for top in (folder, folder.parent) for part in ("*", "*/*") for p in top.glob(part)]
    whole = {p for p in near if p.is_dir() and all((p / path).is_file() for path in paths)}
    return Finder(whole.pop()) if len(whole) == 1 else usual[0]


def draw(
    file: Path, image: dict, objects: list[dict], categories: list[int]
) -> tuple[np.ndarray, list[int]]:
    """The label map `H W` uint8 of one image (number n is the n-th category; later objects over
    earlier ones), and the categories of objects that later ones cover whole.

    Raises UserError, naming the annotation, for a shape that is malformed or outside the image.
    """
    from pycocotools.coco import COCO

    coco = COCO()
    coco.imgs = {image["id"]: image}
    above = np.zeros((image["height"], image["width"]), np.int32)  # the object on top, from 1
    drawn = []
    for number, entry in enumerate(objects, 1):
        check = _check_runs if isinstance(entry["segmentation"], dict) else _check_polygons
        check(f"{file}: {entry['name']}", entry["segmentation"], *above.shape)
        mask = coco.annToMask(entry).astype(bool)
        above[mask] = number
        drawn += [number] * bool(mask.any())
    numbers = [0, *(categories.index(entry["category_id"]) + 1 for entry in objects)]
    hidden = sorted(set(drawn) - set(np.unique(above).tolist()))
    labels = np.array(numbers, np.uint8)[above]
    return labels, [objects[number - 1]["category_id"] for number in hidden]


def _check_polygons(name: str, polygons: list, height: int, width: int) -> None:
    """UserError for what is no polygon in pixels of its image, or lies outside."""
    size = f"{width}x{height}"
    for points in polygons or [[]]:
        numbers = points if isinstance(points, list) else []
        places = all(isinstance(n, int | float) and abs(n) < FAR for n in numbers)
        if len(numbers) < 6 or len(numbers) % 2 or not places:
            given, remedy = f"has no polygon, but {points!r:.40}", "draw it again or remove it"
            raise fault(name, given, "x, y, x, y, x, y, ... (not a box alone)", remedy)
        low, high = np.reshape(numbers, (-1, 2)).min(0), np.reshape(numbers, (-1, 2)).max(0)
        given = f"has a polygon from ({low[0]:g}, {low[1]:g}) to ({high[0]:g}, {high[1]:g})"
        if (high <= 1).all() and min(height, width) > 2:
            remedy = "multiply x by the width and y by the height"
            raise fault(name, given, f"pixels, not shares of {size}", remedy)
        if (low < -SLACK).any() or (high > (width + SLACK, height + SLACK)).any():
            remedy = "clip it, or correct the image's width, height"
            raise fault(name, given, f"points inside {size} pixels", remedy)


def _check_runs(name: str, shape: dict, height: int, width: int) -> None:
    """UserError where runs do not fill the image: pycocotools leaves the rest to chance."""
    from pycocotools import mask

    counts, size = shape.get("counts"), shape.get("size")
    if size != [height, width]:
        expected = f"[{height}, {width}], the size of its image"
        raise fault(name, f"is an RLE of size {size!r}", expected, "correct one")
    good = isinstance(counts, list) and all(type(run) is int and run >= 0 for run in counts)
    good = good and sum(counts) == height * width
    if isinstance(counts, str):  # compressed runs are whole if what they mean is written alike
        with suppress(ValueError):
            good = mask.encode(mask.decode(shape))["counts"].decode() == counts
    if not good:
        given = f"has a malformed RLE ({counts!r:.40})"
        raise fault(name, given, f"runs that fill {width}x{height} pixels", "encode it again")
