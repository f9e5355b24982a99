"""Images of one patient or sequence fall in one split, by hash or as a split.json says."""

import json

import pytest
from pictures import (
    instances,
    make,
    names,
    picture,
    refused,
    rows,
    save,
    square,
    write_coco,
    write_table,
)  # fmt: skip

from naslora_core.data import coco, csv_table, folder, open_data
from naslora_core.data.splits import groups_by, hashed_splits
from naslora_workbook.lessons.profiles import profile


def patients(root, count: int = 12):
    """p0.png -> patient0_p0.png: three images a patient."""
    make(root, count)
    for kind in ("images", "masks"):
        for i in range(count):
            (root / kind / f"p{i}.png").rename(root / kind / f"patient{i // 3}_p{i}.png")
    return root


PATTERN = r"^(patient\d+)_"
SPLITS = ("train", "val", "test")


def test_no_patient_is_in_two_splits(tmp_path):
    root = patients(tmp_path)
    found = names(folder(root, groups=PATTERN))
    held = [{name.split("_")[0] for name in split} for split in found]
    assert all(held) and sum(map(len, held)) == 4 and sum(map(len, found)) == 12
    assert names(open_data(str(root), profile(), groups=PATTERN)) == names(
        folder(root, groups=PATTERN)
    )


def test_without_groups_a_patient_is_torn_apart(tmp_path):
    """Else the test above would prove nothing."""
    held = [{n.split("_")[0] for n in split} for split in names(folder(patients(tmp_path)))]
    assert sum(map(len, held)) > 4


@pytest.mark.parametrize("count", [3, 4, 10, 57])
def test_a_split_of_groups_is_complete_and_keeps_to_the_hash(count):
    groups = {f"{g}/{i}": f"g{g}" for g in range(count) for i in range(g % 4 + 1)}
    splits = hashed_splits(groups)
    together = [n for part in splits.values() for n in part]
    assert sorted(together) == sorted(groups) and all(splits.values())
    assert splits == hashed_splits(dict(reversed(groups.items())))


def test_images_that_are_added_move_none_of_the_test_set():
    """Forty images become two thousand: none changes its split."""
    many = {str(i): str(i) for i in range(2000)}
    few = dict(list(many.items())[:40])
    whole, part = hashed_splits(many), hashed_splits(few)
    assert all(set(part[split]) <= set(whole[split]) for split in SPLITS)
    shares = [len(whole[split]) / len(many) for split in SPLITS]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


@pytest.mark.parametrize("other", ["a csv", "a coco file", "capitals"])
def test_the_same_pictures_fall_in_the_same_splits_whoever_lists_them(tmp_path, other):
    root = make(tmp_path / "a", 30)
    if other == "a csv":
        data = csv_table(write_table(root, rows(30)))
    elif other == "a coco file":
        data = coco(write_coco(root, instances(30)))
    else:
        data = folder(make(tmp_path / "b", 30))
        (tmp_path / "b" / "images").rename(tmp_path / "b" / "IMAGES")
        data = folder(tmp_path / "b")
    assert names(data) == names(folder(root))


def test_a_name_that_many_folders_share_is_split_by_its_folder(tmp_path):
    table = [{"image": f"c{i}/x.png", "label": f"c{i}/m.png"} for i in range(12)]
    for i, row in enumerate(table):
        save(tmp_path / row["image"], picture(i))
        save(tmp_path / row["label"], square())
    assert all(names(csv_table(write_table(tmp_path, table))))


def _given(root, **splits):
    (root / "split.json").write_text(json.dumps(splits))


def test_a_given_split_with_whole_groups_is_taken(tmp_path):
    root = patients(tmp_path, 9)
    parts = {s: [f"patient{g}_p{3 * g + i}" for i in range(3)] for g, s in enumerate(SPLITS)}
    _given(root, **parts)
    assert [sorted(s) for s in names(folder(root, groups=PATTERN))] == list(parts.values())


def test_groups_that_a_split_file_tears_apart_are_named(tmp_path):
    root = patients(tmp_path)
    _given(root, train=["patient0_p0"], val=["patient0_p1"], test=["patient1_p3"])
    refused(lambda path: folder(path, groups=PATTERN), root, "split.json", "(patient0)", "val")


def test_the_group_is_what_the_parentheses_find():
    assert groups_by(r"_(\d+)-", ["a_1-x", "b_1-y", "c_22-z"]) == {
        "a_1-x": "1",
        "b_1-y": "1",
        "c_22-z": "22",
    }
