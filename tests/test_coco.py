"""COCO instances: what is drawn, and every fault named with its annotation or file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import SHAPE, contents, every, make, names, picture, refused, save
from PIL import Image

from naslora_core.data import from_coco as coco
from naslora_core.data import from_coco as coco_draw
from naslora_core.data import from_folder as folder
from naslora_core.data import open_data
from naslora_core.data.from_coco import list_coco
from naslora_core.errors import UserError
from naslora_workbook.lessons.profiles import profile

HEIGHT, WIDTH = SHAPE
BOX = [6, 4, 20, 4, 20, 12, 6, 12]  # of pictures.square


def instances(count: int = 10) -> dict:
    """A faultless json: one box in every image, of category 7."""
    sides = {"height": HEIGHT, "width": WIDTH}
    images = [{"id": 100 + i, "file_name": f"p{i}.png"} | sides for i in range(count)]
    return {
        "images": images,
        "annotations": [annotation(i, 100 + i) for i in range(count)],
        "categories": [{"id": 9, "name": "weed"}, {"id": 7, "name": "crop"}],
    }


def annotation(number: int, image: int = 100, category: int = 7, shape=(BOX,), **more) -> dict:
    keys = {"id": number, "image_id": image, "category_id": category}
    return keys | {"segmentation": list(shape) if isinstance(shape, tuple) else shape} | more


def write(root: Path, data) -> Path:
    file = root / "instances.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    return file


def box(left: int, top: int, right: int, bottom: int) -> tuple:
    return ([left, top, right, top, right, bottom, left, bottom],)


def test_polygons_are_the_masks_of_the_same_squares(tmp_path):
    root = make(tmp_path / "mine")
    file = write(root, instances() | {"categories": [{"id": 7, "name": "crop"}]})
    before = contents(root)
    data, same = coco(file), folder(root)
    assert data.name == "instances" and data.classes == ("crop",) and names(data) == names(same)
    for name, one in every(data).items():
        assert np.array_equal(one.mask, every(same)[name].mask) and one.mask.dtype == np.uint8
        assert np.array_equal(one.image, every(same)[name].image)
    assert contents(root) == before


def test_categories_are_numbered_by_id_and_later_objects_lie_above(tmp_path):
    data = instances()
    data["annotations"] += [annotation(50, 100, 9, box(10, 6, 30, 20))]
    data["annotations"] += [annotation(51, 100, 7, box(25, 15, 35, 22))]
    found = coco(write(make(tmp_path), data))
    assert found.classes == ("crop", "weed")
    expected = np.zeros(SHAPE, np.uint8)
    for (left, top, right, bottom), label in (
        ((6, 4, 20, 12), 1),
        ((10, 6, 30, 20), 2),
        ((25, 15, 35, 22), 1),
    ):
        expected[top:bottom, left:right] = label
    assert np.array_equal(every(found)["p0"].mask, expected)


def test_both_kinds_of_runs_are_read(tmp_path):
    from pycocotools import mask

    wanted = np.zeros(SHAPE, np.uint8)
    wanted[3:9, 5:30] = 1
    wanted[0, 0] = 1
    ends = np.flatnonzero(np.diff(wanted.ravel("F"))) + 1  # runs go down the columns
    counts = [0, *np.diff([0, *ends, wanted.size]).tolist()]
    short = mask.encode(np.asfortranarray(wanted))["counts"].decode()
    data = instances()
    for entry, runs in zip(data["annotations"], (counts, short), strict=False):
        entry["segmentation"] = {"size": list(SHAPE), "counts": runs}
    found = every(coco(write(make(tmp_path), data)))
    assert np.array_equal(found["p0"].mask, wanted) and np.array_equal(found["p1"].mask, wanted)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 999))
def test_packed_runs_are_read_as_pycocotools_reads_them(height, width, block, seed):
    from pycocotools import mask

    rough = np.random.default_rng(seed).random((height // block + 1, width // block + 1)) < 0.5
    wanted = np.kron(rough, np.ones((block, block)))[:height, :width].astype(np.uint8)
    runs = coco_draw.unpack(mask.encode(np.asfortranarray(wanted))["counts"].decode())
    values = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width, order="F")
    assert np.array_equal(values, wanted)


def test_crowds_are_left_out_and_counted(tmp_path):
    data = instances()
    data["annotations"] += [annotation(60 + i, iscrowd=1, shape=box(0, 0, 9, 9)) for i in range(2)]
    with pytest.warns(UserWarning, match=r"2 crowd\(s\) \(iscrowd\) of .*instances\.json"):
        found = coco(write(make(tmp_path), data))
    with pytest.warns(UserWarning, match=r"2 crowd"):
        open_data(str(tmp_path / "instances.json"), profile())
    assert not every(found)["p0"].mask[:4].any()


def test_an_image_without_objects_is_background(tmp_path):
    data = instances()
    del data["annotations"][3]
    assert not every(coco(write(make(tmp_path), data)))["p3"].mask.any()


@pytest.mark.parametrize("place", [".", "images", "../images", "elsewhere"])
def test_where_the_images_are(tmp_path, place):
    root = tmp_path / "annotations"
    (tmp_path / "made").mkdir()
    make(tmp_path / "made", 3)
    root.mkdir()
    for i in range(3):
        save(root / place / f"p{i}.png", picture(i))
    given = root / place if place == "elsewhere" else None
    assert len(every(coco(write(root, instances(3)), given))) == 3


def test_groups_and_opening_by_the_ending(tmp_path):
    file = str(write(make(tmp_path), instances()))
    data = open_data(file, profile(), groups=r"p(\d)")
    assert set.union(*names(data)) == {f"p{i}" for i in range(10)}
    with pytest.raises(UserError, match=r"finds nothing in 10 image\(s\) \(p0"):
        coco(file, groups="(q)")


def test_a_split_json_beside_it_is_kept_and_its_faults_are_told(tmp_path):
    file = write(make(tmp_path / "mine"), instances())
    lists = {"train": ["p0", "p1", "p2"], "val": ["p9"], "test": ["p4", "p3"]}
    (file.parent / "split.json").write_text(json.dumps(lists))
    data = coco(file)
    assert {s: [x.name for x in getattr(data, s)] for s in lists} == lists
    for change, told in (
        ({"val": []}, "val is empty"),
        ({"val": ["p0"]}, "both in train and in val"),
    ):
        (file.parent / "split.json").write_text(json.dumps(lists | change))
        with pytest.raises(UserError, match=told):
            coco(file)


def test_images_of_one_name_in_two_folders_are_named_as_they_are_known(tmp_path):
    data = instances(4)
    for i, image in enumerate(data["images"]):
        image["file_name"] = f"{'ab'[i % 2]}/p{i // 2}.png"
        save(tmp_path / image["file_name"], picture(i))
    lists = {"train": ["p1"], "val": ["a/p0"], "test": ["b/p0"]}
    (tmp_path / "split.json").write_text(json.dumps(lists))
    words = r"train names 1 image\(s\) \(p1\) that none of the 4 images has; .*, e\.g\. a/p1;"
    with pytest.raises(UserError, match=words):
        coco(write(tmp_path, data))


def test_annotations_of_categories_that_are_not_listed_are_one_fault(tmp_path):
    data = instances()
    data["annotations"] += [annotation(50 + i, category=5 + i % 2) for i in range(9)]
    faults = []
    listing = list_coco(write(make(tmp_path), data), tell=faults.append)
    assert len(faults) == 1 and len(listing.images) == 10
    words = r"annotation 50 has category_id 5 .*other\(s\) \(annotation 51, .* and 5 more\); "
    assert re.search(words + r"2 category_id\(s\) \(5, 6\) in all\.", str(faults[0]))


def test_without_pycocotools_its_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_draw, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="python -m pip install pycocotools"):
        coco(write(make(tmp_path), instances()))


# --- faults: what is done to a good json, and what the message must hold ---


def _text(words: str | bytes):
    data = words if isinstance(words, bytes) else words.encode()
    return lambda root: (root / "instances.json").write_bytes(data)


def _with(*path, value=None, drop: bool = False):
    """Another value (or none) at a place of the json."""

    def spoil(root: Path):
        data = part = instances()
        for key in path[:-1]:
            part = part[key]
        if drop:
            del part[path[-1]]
        else:
            part[path[-1]] = value
        write(root, data)

    return spoil


def _shape(value):
    return _with("annotations", 4, "segmentation", value=value)


def _runs(counts, size=SHAPE):
    return _shape({"counts": counts, "size": list(size)})


def _turned(root: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "images" / "p1.png", picture(), exif=exif)


MANY = [{"id": i, "name": str(i)} for i in range(300)]

FAULTS = {
    "no file": (lambda root: (root / "instances.json").unlink(), r"no file .*instances\.json;"),
    "not json": (_text("{images: "), r"is malformed \(.*export it again"),
    "cut off": (_text(json.dumps(instances())[:-40]), r"is malformed"),
    "not text": (_text(b"\xff\xfe\x00"), r"is malformed"),
    "nested too deep": (_text("[" * 100_000), r"is malformed"),
    "a list": (_text("[1]"), r"images is missing or no list"),
    "no images": (_with("images", drop=True), r"images is missing.*id, file_name, width, height"),
    "empty images": (_with("images", value=[]), r"images is empty"),
    "no annotations": (_with("annotations", drop=True), r"annotations is missing.*segmentation"),
    "empty annotations": (_with("annotations", value=[]), r"annotations is empty.*export it"),
    "annotations by name": (_with("annotations", value={}), r"annotations is missing or no list"),
    "no categories": (_with("categories", drop=True), r"categories is missing"),
    "empty categories": (_with("categories", value=[]), r"categories is empty"),
    "an image of text": (_with("images", 2, value="p2.png"), r"images\[2\] has no id"),
    "an image without file": (
        _with("images", 2, "file_name", drop=True),
        r"images\[2\] has no file_name; expected a text",
    ),
    "an image without width": (_with("images", 2, "width", drop=True), r"images\[2\] has no width"),
    "an image of no height": (
        _with("images", 2, "height", value=0),
        r"images\[2\] has height 0; expected a whole number of pixels",
    ),
    "two images of one id": (
        _with("images", 2, "id", value=100),
        r"images has 1 id\(s\) \(100\) more than once.*renumber",
    ),
    "two images of one file": (_with("images", 2, "file_name", value="p1.png"), r"p1\.png\) twice"),
    "a category without name": (_with("categories", 0, value={"id": 1}), r"categories\[0\] has no"),
    "two categories of one id": (
        _with("categories", 0, "id", value=7),
        r"categories has 1 id\(s\) \(7\) more than once",
    ),
    "too many categories": (_with("categories", value=MANY), r"300 categories; expected 255"),
    "an annotation without image": (
        _with("annotations", 4, "image_id", drop=True),
        r"annotations\[4\] has no image_id",
    ),
    "a category of text": (
        _with("annotations", 4, "category_id", value="crop"),
        r"annotations\[4\] has category_id 'crop'; expected a whole number",
    ),
    "a box alone": (
        _with("annotations", 4, "segmentation", drop=True),
        r"annotations\[4\] has no segmentation; expected polygons or RLE \(a box",
    ),
    "an unknown image": (
        _with("annotations", 4, "image_id", value=5),
        r"annotation 4 has image_id 5 that no entry has.*remove",
    ),
    "an unknown category": (
        _with("annotations", 4, "category_id", value=5),
        r"annotation 4 has category_id 5",
    ),
    "crowds only": (
        _with("annotations", value=[annotation(1, iscrowd=1)]),
        r"crowds only \(1 annotation\(s\)\).*iscrowd to 0",
    ),
    "no polygon": (_shape([]), r"annotation 4 has a malformed polygon \(\[\]\)"),
    "an empty polygon": (_shape([BOX, []]), r"annotation 4 has a malformed polygon"),
    "a polygon of two points": (_shape([[1, 1, 5, 5]]), r"\(\[1, 1, 5, 5\]\).*three points"),
    "an odd polygon": (_shape([[*BOX, 3]]), r"malformed polygon"),
    "a flat polygon": (_shape(BOX), r"malformed polygon \(6\)"),
    "a polygon of points": (
        _shape([[[6, 4], [20, 4], [20, 12], [6, 12], [6, 10], [6, 9]]]),
        r"malformed polygon \(\[\[6, 4\]",
    ),
    "a polygon of text": (_shape([["6"] * 6]), r"malformed polygon"),
    "a polygon of nothing": (_shape([[6, 4, float("nan"), 4, 20, 12]]), r"malformed polygon"),
    "a polygon of shares": (
        _shape([[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]]),
        r"between 0\.1 and 0\.9; expected pixels, not shares of 40x24; multiply",
    ),
    "a polygon outside": (
        _shape(list(box(6, 4, 60, 12))),
        r"annotation 4 reaches from \(6, 4\) to \(60, 12\), outside its image of 40x24.*clip",
    ),
    "a polygon before": (_shape(list(box(-5, 4, 20, 12))), r"from \(-5, 4\).*outside"),
    "a polygon swapped": (_shape([[4, 6, 4, 38, 12, 38, 12, 6]]), r"to \(12, 38\), outside"),
    "runs of another size": (
        _runs([10, 20], (40, 24)),
        r"annotation 4 is an RLE of size \[40, 24\]; expected \[24, 40\]",
    ),
    "runs without size": (_shape({"counts": [1, 2]}), r"RLE of size None"),
    "runs that end early": (
        _runs([10, 20]),
        r"malformed RLE \(\[10, 20\]\); expected runs that fill 40x24 pixels; encode",
    ),
    "runs below zero": (_runs([1000, -40]), r"malformed RLE \(\[1000, -40\]"),
    "runs of text": (_runs("~~~hello"), r"malformed RLE \('~~~hello'\)"),
    "packed runs beyond the image": (_runs("0123456789"), r"malformed RLE"),
    "packed runs cut off": (_runs("0P"), r"malformed RLE \('0P'\)"),
    "no runs": (_runs(None), r"malformed RLE \(None\)"),
    "an image missing": (
        lambda root: (root / "images/p3.png").unlink(),
        r"1 image\(s\) \(p3\.png\) that .*images does not hold.*beside the json or into images/",
    ),
    "no image at all": (
        lambda root: (root / "images").rename(root / "pictures"),
        r"10 image\(s\) \(p0\.png, .*7 more\) that .*mine does not hold",
    ),
    "an image broken": (
        lambda root: (root / "images/p3.png").write_text("hello"),
        r"p3\.png does not open as an image",
    ),
    "another size": (
        _with("images", 3, "width", value=50),
        r"Image 103 of .* is 50x24 pixels, its image p3\.png 40x24; .*correct width and height",
    ),
    "an image turned": (_turned, r"40x24 pixels, its image p1\.png 24x40 \(turned upright"),
    "two images": (
        lambda root: write(root, instances(2)),
        r"instances\.json: 2 image\(s\) are too few",
    ),
}


def spoiled(root: Path, fault: str) -> Path:
    """A json with that fault."""
    file = write(make(root), instances())
    FAULTS[fault][0](root)
    return file


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_clear_sentence_and_nothing_is_written(tmp_path, fault):
    root = tmp_path / "mine"
    refused(coco, spoiled(root, fault), FAULTS[fault][1], root)
