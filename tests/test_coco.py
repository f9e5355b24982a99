"""COCO instances: what is drawn and which files are found (faults: test_data_faults)."""

import json

import numpy as np
import pytest
from pictures import (
    SHAPE,
    annotation,
    box,
    contents,
    every,
    instances,
    make,
    names,
    picture,
    refused,
    save,
)  # fmt: skip
from pictures import write_coco as write

from naslora_core.data import coco, folder, from_coco, open_data
from naslora_core.errors import UserError
from naslora_workbook.lessons.profiles import profile


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


def test_an_image_without_objects_is_background(tmp_path):
    data = instances()
    del data["annotations"][3]
    assert not every(coco(write(make(tmp_path), data)))["p3"].mask.any()


@pytest.mark.parametrize("place", [".", "images", "../images"])
def test_where_the_images_are(tmp_path, place):
    root = tmp_path / "annotations"
    (tmp_path / "made").mkdir()
    make(tmp_path / "made", 3)
    root.mkdir()
    for i in range(3):
        save(root / place / f"p{i}.png", picture(i))
    assert len(every(coco(write(root, instances(3))))) == 3


def test_groups_and_opening_by_the_ending(tmp_path):
    file = str(write(make(tmp_path), instances()))
    data = open_data(file, profile(), groups=r"p(\d)")
    assert set.union(*names(data)) == {f"p{i}" for i in range(10)}
    with pytest.raises(UserError, match=r"\(q\).*10 image\(s\) \(p0"):
        coco(file, groups="(q)")


def test_a_split_json_beside_it_is_kept_and_its_faults_are_told(tmp_path):
    file = write(make(tmp_path / "mine"), instances())
    lists = {"train": ["p0", "p1", "p2"], "val": ["p9"], "test": ["p4", "p3"]}
    (file.parent / "split.json").write_text(json.dumps(lists))
    data = coco(file)
    assert {s: [x.name for x in getattr(data, s)] for s in lists} == lists
    for change in ({"val": []}, {"val": ["p0"]}):
        (file.parent / "split.json").write_text(json.dumps(lists | change))
        refused(coco, file, "split.json", "val")


def test_images_of_one_name_in_two_folders_are_named_as_they_are_known(tmp_path):
    data = instances(4)
    for i, image in enumerate(data["images"]):
        image["file_name"] = f"{'ab'[i % 2]}/p{i // 2}.png"
        save(tmp_path / image["file_name"], picture(i))
    lists = {"train": ["p1"], "val": ["a/p0"], "test": ["b/p0"]}
    (tmp_path / "split.json").write_text(json.dumps(lists))
    refused(coco, write(tmp_path, data), "(p1)", "/p1;")


def test_without_pycocotools_its_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(from_coco, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="python -m pip install pycocotools"):
        coco(write(make(tmp_path), instances()))
