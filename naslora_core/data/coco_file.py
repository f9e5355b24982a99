"""The json of a COCO instance file, once it holds what COCO says it must."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from naslora_core.data.names import some
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
