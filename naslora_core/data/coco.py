"""A COCO instance file of yours: polygons or RLE in one json, and the folder of its images.

Everything is looked at before anything is returned, and nothing is ever written there.
"""

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from naslora_core.data.coco_draw import draw, need_pycocotools
from naslora_core.data.coco_file import load
from naslora_core.data.dataset import Dataset
from naslora_core.data.groups import splits_of
from naslora_core.data.listing import Listing, Tell, attempt, keep, stop, to_dataset
from naslora_core.data.names import short_names, some
from naslora_core.errors import UserError

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
