"""The json of a COCO instance file, once it holds what COCO says it must.

COCO's polygons and RLE as a label map.

A COCO instance file of yours: polygons or RLE in one json, and the folder of its images.

Everything is looked at before anything is returned, and nothing is ever written there.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from naslora_core.data.index import Dataset, Listing, Tell, attempt, keep, stop, to_dataset
from naslora_core.data.names import short_names, some
from naslora_core.data.splits import splits_of
from naslora_core.errors import UserError

MOST = 255  # categories: masks are uint8


def _number(value) -> bool:
    return isinstance(value, int)


def _side(value) -> bool:
    return isinstance(value, int) and value > 0


def _word(value) -> bool:
    return isinstance(value, str) and bool(value)


def _shape(value) -> bool:
    return isinstance(value, list | dict)


NEEDED: dict[str, dict[str, Callable]] = {
    "images": {"id": _number, "file_name": _word, "width": _side, "height": _side},
    "categories": {"id": _number, "name": _word},
    "annotations": {"image_id": _number, "category_id": _number, "segmentation": _shape},
}


def load(file: Path) -> dict:
    """The lists `images`, `categories` and `annotations`, each entry with the keys that we read.

    Raises UserError for a missing or malformed file, missing or empty lists, keys that are missing
    or of another kind, an id that two entries share, and more than 255 categories.
    """
    if not file.is_file():
        raise UserError(f"There is no file {file}; expected a json of COCO instances.")
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{file} is malformed ({error}); expected COCO's json with {', '.join(NEEDED)}; "
            "export it again."
        ) from error
    for key, tests in NEEDED.items():
        _check_list(file, key, tests, data.get(key) if isinstance(data, dict) else None)
    for key in ("images", "categories"):
        _check_ids(file, key, [entry["id"] for entry in data[key]])
    return data


def _check_list(file: Path, key: str, tests: dict[str, Callable], entries) -> None:
    if not isinstance(entries, list) or not entries:
        found = "is empty" if entries == [] else "is missing or no list"
        raise UserError(
            f"{file}: {key} {found}; expected a list of objects with {', '.join(tests)}; export "
            "it again as COCO instances."
        )
    for i, entry in enumerate(entries):
        entry = entry if isinstance(entry, dict) else {}
        for word, good in tests.items():
            if not good(entry.get(word)):
                found = f"has {word} {entry[word]!r:.60}" if word in entry else f"has no {word}"
                raise UserError(
                    f"{file}: {key}[{i}] {found}; expected {WORDS[good]}; export it again as COCO "
                    "instances."
                )


WORDS = {
    _number: "a whole number",
    _side: "a whole number of pixels",
    _word: "a text",
    _shape: "polygons or RLE (a box alone draws no mask)",
}


def _check_ids(file: Path, key: str, ids: list[int]) -> None:
    if twice := sorted(str(i) for i, count in Counter(ids).items() if count > 1):
        raise UserError(
            f"{file}: {key} has {some(twice, 'id')} more than once; expected one entry an id; "
            "renumber them."
        )
    if key == "categories" and len(ids) > MOST:
        raise UserError(f"{file} has {len(ids)} categories; expected {MOST} or fewer; join some.")


SLACK = 1  # pixels that a polygon may lie outside: annotation tools round


def need_pycocotools() -> None:
    """UserError with pip's command where pycocotools is missing."""
    if find_spec("pycocotools") is None:
        raise UserError(
            "pycocotools is not installed; expected it for COCO files; run: "
            "python -m pip install pycocotools."
        )


def draw(file: Path, image: dict, objects: list[dict], numbers: dict[int, int]) -> np.ndarray:
    """The label map `H W` uint8 of one image: later objects over earlier ones, 0 is background.

    Raises UserError, naming the annotation, for a shape that is malformed or outside the image.
    """
    labels = np.zeros((image["height"], image["width"]), np.uint8)
    for entry in objects:
        labels[_pixels(file, entry, *labels.shape)] = numbers[entry["category_id"]]
    return labels


def _pixels(file: Path, entry: dict, height: int, width: int) -> np.ndarray:
    """One object, `H W` bool."""
    shape, name = entry["segmentation"], f"{file}: {entry['name']}"
    if isinstance(shape, dict):
        runs = _checked_runs(name, shape, height, width)
        # down the columns, background first
        return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width, order="F")
    from pycocotools import mask

    _check_polygons(name, shape, height, width)
    return mask.decode(mask.merge(mask.frPyObjects(shape, height, width))).astype(bool)


def _check_polygons(name: str, polygons: list, height: int, width: int) -> None:
    for points in polygons or [[]]:
        numbers = points if isinstance(points, list) else []
        if len(numbers) < 6 or len(numbers) % 2 or not all(map(_finite, numbers)):
            raise UserError(
                f"{name} has a malformed polygon ({points!r:.40}); expected lists of x, y, x, y, "
                "... of three points or more; draw it again or remove it."
            )
        places = np.reshape(numbers, (-1, 2))
        low, high = places.min(0), places.max(0)
        if (high <= 1).all() and min(height, width) > 2:
            raise UserError(
                f"{name} has a polygon between {low.min():g} and {high.max():g}; expected pixels, "
                f"not shares of {width}x{height}; multiply x by the width and y by the height."
            )
        if (low < -SLACK).any() or (high > (width + SLACK, height + SLACK)).any():
            raise UserError(
                f"{name} reaches from ({low[0]:g}, {low[1]:g}) to ({high[0]:g}, {high[1]:g}), "
                f"outside its image of {width}x{height} pixels; expected all points inside; clip "
                "it, or correct the image's width and height."
            )


def _finite(value) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _checked_runs(name: str, shape: dict, height: int, width: int) -> list[int]:
    """The lengths of the runs, once they fill the image (pycocotools itself writes beyond it)."""
    if shape.get("size") != [height, width]:
        raise UserError(
            f"{name} is an RLE of size {shape.get('size')!r}; expected [{height}, {width}], the "
            "height and width of its image; correct one of them."
        )
    counts = shape.get("counts")
    runs = unpack(counts) if isinstance(counts, str) else counts
    good = isinstance(runs, list) and all(isinstance(run, int) and run >= 0 for run in runs)
    if not good or sum(runs) != height * width:
        raise UserError(
            f"{name} has a malformed RLE ({counts!r:.40}); expected runs that fill "
            f"{width}x{height} pixels; encode it again."
        )
    return runs


def unpack(counts: str) -> list[int] | None:
    """The runs of COCO's compressed counts; None for what is none.

    A character is 48 and six bits: five of a number, the lowest first, and 32 if more follow. A
    number whose last has 16 is negative. From the fourth on, it is added to the run two before.
    """
    runs, number, shift = [], 0, 0
    for bits in (ord(character) - 48 for character in counts):
        if not 0 <= bits < 64:
            return None
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (1 << shift) if bits & 16 else 0
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    return None if shift else runs


MEND = "correct width and height in the json, or export it for upright images"


def coco(
    path: str | Path,
    images: str | Path | None = None,
    split_seed: int = 0,
    groups: str | None = None,
) -> Dataset:
    """The images of a COCO json, split by the `split.json` beside it (image names, without folder
    and ending), or else by a hash of their names (or of `groups`, see `folder`).

    images: the folder of the files; default: the json's, or images/ in it or beside it. Categories
    become 1..C in the order of their ids and keep their names; later objects lie over earlier ones;
    crowds are left out, with a warning that counts them. An image without objects is background.
    Raises UserError for a malformed json, missing keys or images, objects outside their image, no
    objects at all, and where pycocotools is missing.
    """
    return to_dataset(list_coco(path, split_seed, groups, images=images))


def list_coco(
    path: str | Path,
    split_seed: int = 0,
    groups: str | None = None,
    tell: Tell = stop,
    images: str | Path | None = None,
) -> Listing:
    """The images of a COCO json with their splits; masks are drawn when they are read."""
    need_pycocotools()
    file = Path(path)
    data = load(file)
    classes = {c["id"]: c["name"] for c in sorted(data["categories"], key=lambda c: c["id"])}
    numbers = {category: number for number, category in enumerate(classes, 1)}
    objects, crowds = _objects(file, data, classes, tell)
    root = Path(images) if images else _root(file, data["images"])
    files = _files(file, root, data["images"], tell)
    entries = dict(zip(files, data["images"], strict=True))
    splits = attempt(tell, splits_of, file, file.parent / "split.json", files, split_seed, groups)
    files = {name: path for name, path in files.items() if path.is_file()}

    def read(name: str):
        return draw(file, entries[name], objects[entries[name]["id"]], numbers)

    return Listing(
        name=file.stem,
        images=files,
        masks={name: f"Image {entry['id']} of {file}" for name, entry in entries.items()},
        read=read,
        splits=keep(splits, files),
        where=file,
        mend=MEND,
        classes=tuple(classes.values()),
        notes=(f"{crowds} crowd(s) (iscrowd) of {file} are left out.",) if crowds else (),
    )


def _objects(file: Path, data: dict, classes: dict, tell: Tell) -> tuple[dict[int, list], int]:
    """The annotations of each image, and how many crowds were left out."""
    listed = [
        entry | {"name": f"annotation {entry.get('id', f'[{i}]')}"}
        for i, entry in enumerate(data["annotations"])
    ]
    single = [entry for entry in listed if not entry.get("iscrowd")]
    links = {"image_id": {image["id"] for image in data["images"]}, "category_id": classes}
    for key, known in links.items():
        attempt(tell, _check_links, file, key, known, single)
    attempt(tell, _check_single, file, single, len(listed))
    objects = defaultdict(list)
    for entry in single:
        if all(entry[key] in known for key, known in links.items()):
            objects[entry["image_id"]].append(entry)
    return objects, len(listed) - len(single)


def _check_single(file: Path, single: list[dict], count: int) -> None:
    if not single:
        raise UserError(
            f"{file} holds crowds only ({count} annotation(s)); expected single objects; set "
            "iscrowd to 0 where they are."
        )


def _check_links(file: Path, key: str, known: Collection[int], entries: list[dict]) -> None:
    """UserError for the first annotation whose image or category is not listed, with all others."""
    lost = [entry for entry in entries if entry[key] not in known]
    if lost:
        names = [entry["name"] for entry in lost[1:]]
        values = [str(value) for value in dict.fromkeys(entry[key] for entry in lost)]
        more = f" The same goes for {some(names, 'other')}; {some(values, key)} in all."
        raise UserError(
            f"{file}: {lost[0]['name']} has {key} {values[0]} that no entry has as its id; "
            f"expected one of {len(known)} that are listed; correct or remove the annotation."
            + (more if names else "")
        )


def _root(file: Path, images: list[dict]) -> Path:
    """Where the first image is found: beside the json, or in images/ there or one folder up."""
    places = [file.parent, file.parent / "images", file.resolve().parent.parent / "images"]
    first = images[0]["file_name"].replace("\\", "/")
    return next((place for place in places if (place / first).is_file()), file.parent)


def _files(file: Path, root: Path, images: list[dict], tell: Tell) -> dict[str, Path]:
    paths = [image["file_name"].replace("\\", "/") for image in images]
    missing = sorted(path for path in paths if not (root / path).is_file())
    if missing:
        tell(
            UserError(
                f"{file} names {some(missing)} that {root} does not hold; expected every file_name "
                "there; put them beside the json or into images/."
            )
        )
    return dict(zip(short_names(file, paths), (root / path for path in paths), strict=True))
