"""A csv of images and masks: what is read of it (its faults: test_data_faults)."""

import numpy as np
from pictures import contents, every, make, names, picture, rows, save, square
from pictures import write_table as write

from naslora_core.data import csv_table, folder


def part(i: int) -> str:
    return "train" if i < 6 else "val" if i < 8 else "test"


def test_a_table_is_the_folder_of_the_same_files(tmp_path):
    root = make(tmp_path / "mine")
    file = write(root, rows())
    before = contents(root)
    data, same = csv_table(file), folder(root)
    assert data.name == "table" and data.classes == same.classes and names(data) == names(same)
    for name, one in every(data).items():
        assert np.array_equal(one.image, every(same)[name].image)
        assert np.array_equal(one.mask, square(1))
    assert contents(root) == before


def test_the_column_split_decides(tmp_path):
    data = csv_table(write(make(tmp_path), rows(split=part)))
    assert [len(s) for s in (data.train, data.val, data.test)] == [6, 2, 2]
    assert data.val.keys == ("p6", "p7")


def test_the_column_group_keeps_images_together(tmp_path):
    data = csv_table(write(make(tmp_path), rows(group=lambda i: i // 2)))
    found = [{int(name[1:]) // 2 for name in split} for split in names(data)]
    assert sum(map(len, found)) == 5 and all(found)


def test_a_split_file_beside_a_table_is_told_to_be_none_of_its(tmp_path):
    root = make(tmp_path)
    (root / "split.json").write_text("{}")
    (note,) = (n for n in csv_table(write(root, rows())).notes if "split.json" in n)
    assert "split.json" in note and "column `split`" in note


def test_names_are_as_short_as_they_can_be_told_apart(tmp_path):
    table = [{"image": f"{a}/x.png", "label": f"{a}/mask.png"} for a in "abc"]
    for i, row in enumerate(table):
        save(tmp_path / row["image"], picture(i))
        save(tmp_path / row["label"], square())
    assert set.union(*names(csv_table(write(tmp_path, table)))) == {"a/x", "b/x", "c/x"}


def test_what_spreadsheets_write(tmp_path):
    """A byte order mark, blanks, empty lines, backslashes, columns of no interest, whole paths."""
    root = make(tmp_path, 3)
    text = "\ufeff,image, label\r\n0,images\\p0.png, masks/p0.png\r\n\r\n,,\r\n"
    text += f"1,{root / 'images/p1.png'},masks/p1.png\r\n2,images/p2.png,masks/p2.png\r\n"
    (root / "t.csv").write_text(text, encoding="utf-8")
    assert set.union(*names(csv_table(root / "t.csv"))) == {"p0", "p1", "p2"}
