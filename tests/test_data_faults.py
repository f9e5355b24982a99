"""Faults of a folder, a csv and a COCO json: each is one sentence that names its file or place.

The loader raises it and `check` reports it; nothing is ever written beside the data.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import (
    BOX,
    SHAPE,
    annotation,
    box,
    contents,
    instances,
    make,
    picture,
    refused,
    rows,
    save,
    square,
    write_coco,
    write_table,
)  # fmt: skip
from PIL import Image

from naslora_core.data import check, coco, csv_table, folder


def text(name: str, words: str | bytes):
    data = words if isinstance(words, bytes) else words.encode()
    return lambda root: (root / name).write_bytes(data)


def put(name: str, values, **options):
    """Another picture at a name, in the place of all that share its stem."""

    def spoil(root: Path):
        for old in (root / name).parent.glob(Path(name).stem + ".*"):
            old.unlink()
        save(root / name, values, **options)

    return spoil


def split(**splits):
    good = {"train": ["p0", "p1"], "val": ["p2"], "test": ["p3"]}
    return text("split.json", json.dumps(good | splits))


def remove(*names: str):
    return lambda root: [(root / n).unlink() for n in names]


def move(old: str, new: str):
    return lambda root: (root / old).rename(root / new)


def truncate(name: str, keep: float):
    def spoil(root: Path):
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: int(len(data) * keep)])

    return spoil


def both(*spoilers):
    return lambda root: [spoil(root) for spoil in spoilers]


def turned(root: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "images" / "p1.png", picture(), exif=exif)


def all_masks(value: int):
    return lambda root: [save(root / f"masks/p{i}.png", square(value)) for i in range(10)]


COLOURED = np.repeat(square()[..., None], 3, 2) // np.array([1, 2, 3], np.uint8)
BLURRED = np.tile(np.linspace(0, 255, SHAPE[1]).astype(np.uint8), (SHAPE[0], 1))
NUMBERS = np.arange(SHAPE[0] * SHAPE[1], dtype=np.int32).reshape(SHAPE)
LEVELS = square(127) + np.roll(square(255), 15, 1) * (np.roll(square(), 15, 1) > 0)

FOLDER = {
    "images missing": (move("images", "pictures"), "images", "pictures"),
    "masks missing": (move("masks", "labels"), "masks", "labels"),
    "images is a file": (both(move("images", "x"), text("images", "hello")), "images", "x"),
    "no images": (lambda root: [p.unlink() for p in (root / "images").iterdir()], "images", ".png"),
    "one mask missing": (remove("masks/p4.png"), "1 image(s) (p4)", "masks"),
    "many masks missing": (
        remove(*(f"masks/p{i}.png" for i in range(5))),
        "5 image(s) (p0, p1, p2 and 2 more)",
    ),
    "another name": (move("masks/p4.png", "masks/p4_mask.png"), "(p4)", "p4_mask.png"),
    "two images of one name": (
        lambda root: save(root / "images/p1.jpg", picture()),
        "p1.png",
        "p1.jpg",
    ),
    "two masks of one name": (
        lambda root: save(root / "masks/p1.bmp", square()),
        "p1.png",
        "p1.bmp",
    ),
    "mask of another size": (
        put("masks/p1.png", square(255, (20, 30))),
        "masks/p1.png",
        "30x20",
        "40x24",
    ),
    "mask turned": (put("masks/p1.png", square().T.copy()), "24x40", "40x24", "EXIF"),
    "image turned": (turned, "40x24", "24x40", "EXIF"),
    "image truncated": (truncate("images/p1.png", 0.6), "images/p1.png"),
    "image empty": (text("images/p1.png", ""), "images/p1.png"),
    "image is text": (text("images/p1.png", "hello"), "images/p1.png"),
    "mask truncated": (truncate("masks/p1.png", 0.7), "masks/p1.png"),
    "jpeg truncated": (
        both(put("images/p1.jpg", picture()), truncate("images/p1.jpg", 0.5)),
        "images/p1.jpg",
    ),
    "mask in colour": (put("masks/p1.png", COLOURED), "masks/p1.png", "RGB, 2 colours"),
    "mask in colour with alpha": (
        put("masks/p1.png", Image.fromarray(COLOURED).convert("RGBA")),
        "masks/p1.png",
        "RGBA",
    ),
    "mask in CMYK": (
        put("masks/p1.tif", Image.fromarray(COLOURED).convert("CMYK")),
        "masks/p1.tif",
        "CMYK",
    ),
    "mask of grey levels": (put("masks/p1.png", LEVELS), "masks/p1.png", "127 -> 1, 255 -> 2"),
    "mask blurred": (put("masks/p1.png", BLURRED), "masks/p1.png", "128"),
    "mask of object numbers": (put("masks/p1.tif", NUMBERS), "masks/p1.tif", "960 value(s)"),
    "mask of negative values": (
        put("masks/p1.tif", square().astype(np.int32) - 1),
        "masks/p1.tif",
        "-1, 254",
    ),
    "mask of fractions": (
        put("masks/p1.tif", (square() / 510).astype(np.float32)),
        "masks/p1.tif",
        "0, 0.5",
    ),
    "mask of several frames": (
        put(
            "masks/p1.tif",
            Image.fromarray(square()),
            save_all=True,
            append_images=[Image.fromarray(square())] * 2,
        ),
        "masks/p1.tif",
        "3",
    ),
    "255 among class numbers": (put("masks/p1.png", square(2)), "masks/p0.png", "0..2"),
    "all masks empty": (all_masks(0), "masks", "255"),
    "too few images": (
        remove(*(f"{k}/p{i}.png" for k in ("images", "masks") for i in range(8))),
        "2 group(s)",
    ),
    "split not json": (text("split.json", "{train:"), "split.json"),
    "split not text": (text("split.json", b"\xff\xfe\x00"), "split.json"),
    "split a list": (text("split.json", "[1, 2]"), "split.json"),
    "split without val": (text("split.json", '{"train": [], "test": []}'), "split.json", "val"),
    "split of strings": (split(train="p0"), "split.json"),
    "split is a folder": (lambda root: (root / "split.json").mkdir(), "split.json"),
    "split unknown": (split(val=["q7"]), "split.json", "val", "(q7)"),
    "split empty": (split(test=[]), "split.json", "test"),
    "split overlapping": (split(val=["p1"]), "(p1)", "train", "val"),
    "split of lists": (split(val=[["p2"]]), "val", "['p2']"),
    "split twice": (split(test=["p3", "p3"]), "test", "(p3)"),
}


def part(i: int) -> str:
    return "train" if i < 6 else "val" if i < 8 else "test"


def csv_text(words: str | bytes):
    return text("table.csv", words)


def row(i: int, **cells):
    """Other cells in one row."""

    def spoil(root: Path):
        table = rows(split=part)
        table[i] |= cells
        write_table(root, table)

    return spoil


def table(new: list[dict[str, str]]):
    return lambda root: write_table(root, new)


HEAD = "image,label\n"
GOOD = "".join(f"images/p{i}.png,masks/p{i}.png\n" for i in range(9))

CSV = {
    "no file": (remove("table.csv"), "table.csv"),
    "empty": (csv_text(""), "table.csv", "image,label"),
    "not text": (csv_text(b"\xff\xfe\x00\x01"), "table.csv", "UTF-8"),
    "only a head": (csv_text(HEAD), "table.csv"),
    "no head": (csv_text(GOOD), "'images/p0.png'", "image and label"),
    "semicolons": (csv_text((HEAD + GOOD).replace(",", ";")), "'image;label'", "comma"),
    "another name": (csv_text("image,mask\n" + GOOD), "'image', 'mask'", "label"),
    "a column twice": (csv_text("image,label,label\n" + GOOD), "label"),
    "a comma too many": (csv_text(HEAD + GOOD + "a,b.png,masks/p9.png\n"), "row 11"),
    "a cell too few below empty lines": (csv_text(HEAD + "\n\n" + GOOD + "images/p9.png\n"),
                                         "row 13"),
    "an empty image": (row(4, image=""), "row 6", "image"),
    "an empty label": (row(4, label=" "), "row 6", "label"),
    "an empty split": (row(4, split=""), "row 6", "split"),
    "an empty group": (table(rows(group=lambda i: i or "")), "row 2", "group"),
    "an image missing": (row(2, image="images/q.png"), "column image", "1 file(s) (images/q.png)"),
    "a label missing": (row(2, label="masks/q.png"), "column label", "1 file(s) (masks/q.png)"),
    "an image that is no file": (row(2, image="."), "column image", "(.)"),
    "an image twice": (row(2, image="images/p0.png"), "images/p0.png"),
    "an image twice, spelt otherwise": (row(2, image="./images/p0.png"), "images/p0.png"),
    "an unknown split": (row(7, split="valid"), "'valid'", "p7"),
    "no test": (table(rows(split=lambda i: "val" if i > 7 else "train")), "test"),
    "a group in two splits": (
        table(rows(split=part, group=lambda i: i % 7)), "1 group(s) (0)", "train", "val",
    ),
    "two groups": (table(rows(group=lambda i: i % 2)), "2 group(s) (0, 1)"),
    "two images": (table(rows(2)), "table.csv", "2 group(s)"),
    "its own mask": (row(2, label="images/p2.png"), "p2.png"),
    "its own mask, by way of a folder": (row(2, label="masks/../images/p2.png"), "p2.png"),
    "a copy of the image as mask": (
        both(put("images/p2.png", square()), put("masks/p2.png", square())), "p2.png",
    ),
    "one mask of two images": (row(2, label="masks/p3.png"), "p3.png", "(p2, p3)"),
    "one mask of all images": (
        table([one | {"label": "masks/p0.png"} for one in rows()]), "p0.png", "10 image(s)",
    ),
    "a text as a mask": (row(2, label="table.csv"), "table.csv", ".png"),
    "another size": (
        lambda root: save(root / "masks/p3.png", square(255, (20, 30))), "p3.png", "30x20", "40x24",
    ),
    "empty masks": (all_masks(0), "column label", "table.csv"),
}  # fmt: skip


def change(*path, value=None, drop: bool = False):
    """Another value (or none) at a place of the json."""

    def spoil(root: Path):
        data = part = instances()
        for key in path[:-1]:
            part = part[key]
        if drop:
            del part[path[-1]]
        else:
            part[path[-1]] = value
        write_coco(root, data)

    return spoil


def shape(value):
    return change("annotations", 4, "segmentation", value=value)


def runs(counts, size=SHAPE):
    return shape({"counts": counts, "size": list(size)})


MANY = [{"id": i, "name": str(i)} for i in range(300)]
POINTS = [[6, 4], [20, 4], [20, 12], [6, 12], [6, 10], [6, 9]]

COCO = {
    "no file": (remove("instances.json"), "instances.json"),
    "not json": (text("instances.json", "{images: "), "instances.json"),
    "cut off": (text("instances.json", json.dumps(instances())[:-40]), "instances.json"),
    "not text": (text("instances.json", b"\xff\xfe\x00"), "instances.json"),
    "nested too deep": (text("instances.json", "[" * 100_000), "instances.json"),
    "a list": (text("instances.json", "[1]"), "images"),
    "no images": (change("images", drop=True), "images", "file_name"),
    "empty images": (change("images", value=[]), "images"),
    "no annotations": (change("annotations", drop=True), "annotations", "segmentation"),
    "annotations by name": (change("annotations", value={}), "annotations"),
    "no categories": (change("categories", drop=True), "categories"),
    "an image of text": (change("images", 2, value="p2.png"), "images[2]", "id"),
    "an image without file": (change("images", 2, "file_name", drop=True), "images[2]",
                              "file_name"),
    "an image without width": (change("images", 2, "width", drop=True), "images[2]", "width"),
    "an image of no height": (change("images", 2, "height", value=0), "images[2]", "height 0"),
    "two images of one id": (change("images", 2, "id", value=100), "images", "(100)"),
    "two images of one file": (change("images", 2, "file_name", value="p1.png"), "p1.png"),
    "a category without name": (change("categories", 0, value={"id": 1}), "categories[0]", "name"),
    "two categories of one id": (change("categories", 0, "id", value=7), "categories", "(7)"),
    "too many categories": (change("categories", value=MANY), "300", "categories"),
    "an annotation without image": (change("annotations", 4, "image_id", drop=True),
                                    "annotations[4]", "image_id"),
    "a category of text": (change("annotations", 4, "category_id", value="crop"),
                           "annotations[4]", "'crop'"),
    "a box alone": (change("annotations", 4, "segmentation", drop=True), "annotations[4]",
                    "segmentation"),
    "an unknown image": (change("annotations", 4, "image_id", value=5), "annotation 4", "image_id",
                         "(5)"),
    "an unknown category": (change("annotations", 4, "category_id", value=5), "annotation 4",
                            "category_id"),
    "no polygon": (shape([]), "annotation 4", "[]"),
    "an empty polygon": (shape([BOX, []]), "annotation 4"),
    "a polygon of two points": (shape([[1, 1, 5, 5]]), "annotation 4", "[1, 1, 5, 5]"),
    "an odd polygon": (shape([[*BOX, 3]]), "annotation 4"),
    "a flat polygon": (shape(BOX), "annotation 4"),
    "a polygon of points": (shape([POINTS]), "annotation 4", "[[6, 4]"),
    "a polygon of text": (shape([["6"] * 6]), "annotation 4"),
    "a polygon of nothing": (shape([[6, 4, float("nan"), 4, 20, 12]]), "annotation 4"),
    "a polygon of shares": (shape([[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]]), "annotation 4", "40x24"),
    "a polygon outside": (shape(list(box(6, 4, 60, 12))), "annotation 4", "(60, 12)", "40x24"),
    "a polygon before": (shape(list(box(-5, 4, 20, 12))), "annotation 4", "(-5, 4)"),
    "a polygon swapped": (shape([[4, 6, 4, 38, 12, 38, 12, 6]]), "annotation 4", "(12, 38)"),
    "runs of another size": (runs([10, 20], (40, 24)), "annotation 4", "[40, 24]", "[24, 40]"),
    "runs without size": (shape({"counts": [1, 2]}), "annotation 4", "None"),
    "runs that end early": (runs([10, 20]), "annotation 4", "[10, 20]"),
    "runs below zero": (runs([1000, -40]), "annotation 4", "[1000, -40]"),
    "runs of text": (runs("~~~hello"), "annotation 4", "~~~hello"),
    "packed runs beyond the image": (runs("0123456789"), "annotation 4"),
    "packed runs cut off": (runs("0P"), "annotation 4", "0P"),
    "packed runs that end early": (runs("k36b000000"), "annotation 4"),
    "no packed runs": (runs(""), "annotation 4"),
    "no runs": (runs(None), "annotation 4", "None"),
    "an image missing": (remove("images/p3.png"), "1 file(s) (p3.png)"),
    "no image at all": (move("images", "pictures"), "10 file(s) (p0.png"),
    "an image broken": (text("images/p3.png", "hello"), "p3.png"),
    "another size": (change("images", 3, "width", value=50), "Image 103", "50x24", "40x24"),
    "an image turned": (turned, "40x24", "24x40", "p1.png"),
    "two images": (lambda root: write_coco(root, instances(2)), "instances.json", "2 group(s)"),
    "background alone": (
        change("categories", value=[{"id": 7, "name": "background"}]), "instances.json",
    ),
    "an image of another format": (
        both(move("images/p3.png", "images/p3.svg"),
             change("images", 3, "file_name", value="p3.svg")), "p3.svg", ".webp",
    ),
}  # fmt: skip

GROUPS = {
    "no expression": "(patient",
    "no group": r"patient\d+",
    "two groups in it": r"(p)(\d+)",
    "a name without": r"p([0-6])",
    "an empty group": r"(x?)",
    "one group of all": r"(p)",
}


def good_folder(root: Path) -> Path:
    return make(root)


def good_table(root: Path) -> Path:
    return write_table(make(root), rows(split=part))


def good_coco(root: Path) -> Path:
    return write_coco(make(root), instances())


KINDS = {
    "folder": (good_folder, folder, FOLDER),
    "csv": (good_table, csv_table, CSV),
    "coco": (good_coco, coco, COCO),
}
CASES = [(kind, name) for kind, (_, _, faults) in KINDS.items() for name in faults]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_fault_is_one_sentence_in_the_loader_and_in_the_check(tmp_path, kind, name):
    (good, load, faults), root = KINDS[kind], tmp_path / "mine"
    file, (spoil, *named) = good(root), faults[name]
    spoil(root)
    before = contents(root)
    refused(load, file, *named)
    found = check(file, progress=False).faults
    assert any(all(word in fault for word in named) for fault in found), found
    assert all(fault.endswith(".") and "\n" not in fault for fault in found)
    assert contents(root) == before


@pytest.mark.parametrize("name", GROUPS)
def test_a_fault_of_groups_names_the_expression(tmp_path, name):
    root, groups = make(tmp_path), GROUPS[name]
    named = "(p)" if name == "one group of all" else groups
    refused(lambda path: folder(path, groups=groups), root, named)
    assert any(named in fault for fault in check(root, groups, progress=False).faults)


def test_good_data_have_no_fault(tmp_path):
    """Else the tables above would prove nothing."""
    for kind, (good, load, _) in KINDS.items():
        file = good(tmp_path / kind)
        assert check(file, progress=False).ok and len(load(file).train)


@pytest.mark.parametrize("name", ["", "nowhere", "file.txt"])
def test_no_folder(tmp_path, name):
    (tmp_path / "file.txt").write_text("hello")
    refused(folder, tmp_path / name, "images")


def test_one_kind_of_groups_only(tmp_path):
    file = write_table(make(tmp_path), rows(group=lambda i: i))
    refused(lambda path: csv_table(path, groups="(p)"), file, "column group", "'(p)'")


def test_one_fault_of_many_masks_is_one_sentence_with_a_count(tmp_path):
    root = make(tmp_path, 60)
    for i in range(60):
        save(root / f"masks/p{i}.png", square(77 + i))
    (found,) = check(root, progress=False).faults
    assert "59 image(s)" in found
    data = instances() | {"annotations": [annotation(i, 100 + i % 10, 5) for i in range(60)]}
    file = write_coco(make(tmp_path / "coco"), data)
    assert sum("60 annotation(s)" in f for f in check(file, progress=False).faults) == 1


def test_all_faults_at_once_each_kind_in_one_sentence(tmp_path):
    root = make(tmp_path)
    for i, values in enumerate((COLOURED, COLOURED[..., ::-1].copy(), COLOURED // 2)):
        save(root / f"masks/p{i}.png", values)
    (root / "images/p4.png").write_text("hello")
    (root / "masks/p5.png").write_text("hello")
    save(root / "masks/p6.png", square(255, (5, 5)))
    save(root / "masks/p7.png", square(77))
    (root / "masks/p8.png").unlink()
    (root / "split.json").write_text("{")
    faults = check(root, progress=False).faults
    wanted = (
        ("split.json",), ("1 image(s) (p8)",), ("p0.png", "2 image(s) (p1, p2)", "All 4 colours"),
        ("images/p4.png",), ("masks/p5.png",), ("p6.png", "5x5"), ("p7.png", "0, 77"),
    )  # fmt: skip
    assert len(faults) == len(wanted)
    for words in wanted:
        assert sum(all(word in fault for word in words) for fault in faults) == 1, words
    refused(folder, root, "split.json")
