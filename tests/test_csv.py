"""A csv of images and masks: what is read, and every fault named with its row or file."""

import csv
from pathlib import Path

import numpy as np
import pytest
from pictures import contents, every, make, names, picture, refused, save, square

from naslora_core.data import csv_table
from naslora_core.data import from_folder as folder
from naslora_core.errors import UserError


def rows(count: int = 10, **more) -> list[dict[str, str]]:
    """The rows of a faultless table; more: a column's value for each number."""
    return [
        {"image": f"images/p{i}.png", "label": f"masks/p{i}.png"}
        | {column: str(value(i)) for column, value in more.items()}
        for i in range(count)
    ]


def write(root: Path, table: list[dict[str, str]], name: str = "table.csv") -> Path:
    with (root / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return root / name


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
    with pytest.warns(UserWarning, match=r"split\.json is not read: .*column `split`"):
        csv_table(write(root, rows()))


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


# --- faults: what is done to a good table, and what the message must hold ---


def _text(words: str | bytes):
    data = words if isinstance(words, bytes) else words.encode()
    return lambda root: (root / "table.csv").write_bytes(data)


def _row(i: int, **cells):
    """Other cells in one row."""

    def spoil(root: Path):
        table = rows(split=part)
        table[i] |= cells
        write(root, table)

    return spoil


def _rows(table: list[dict[str, str]]):
    return lambda root: write(root, table)


def _remove(name: str):
    return lambda root: (root / name).unlink()


HEAD = "image,label\n"
GOOD = "".join(f"images/p{i}.png,masks/p{i}.png\n" for i in range(9))

FAULTS = {
    "no file": (_remove("table.csv"), r"no file .*table\.csv; expected a csv"),
    "empty": (_text(""), r"does not read as a csv.*image,label"),
    "not text": (_text(b"\xff\xfe\x00\x01"), r"does not read as a csv.*UTF-8"),
    "only a head": (_text(HEAD), r"no row below its head.*add"),
    "no head": (_text(GOOD), r"columns 'images/p0\.png'.*expected image and label"),
    "semicolons": (
        _text((HEAD + GOOD).replace(",", ";")),
        r"columns 'image;label'; .*separated by commas",
    ),
    "another name": (_text("image,mask\n" + GOOD), r"columns 'image', 'mask'; expected label once"),
    "a column twice": (_text("image,label,label\n" + GOOD), r"expected label once"),
    "a comma too many": (
        _text(HEAD + GOOD + "a,b.png,masks/p9.png\n"),
        r"row 11 has 3 cells, its head 2.*quote",
    ),
    "a cell too few": (_text(HEAD + GOOD + "images/p9.png\n"), r"row 11 has 1 cells"),
    "a cell too few below empty lines": (
        _text(HEAD + "\n\n" + GOOD + "images/p9.png\n"),
        r"row 13 has 1 cells",
    ),
    "an empty image": (_row(4, image=""), r"row 6 has nothing in column image.*fill"),
    "an empty label": (_row(4, label=" "), r"row 6 has nothing in column label"),
    "an empty split": (_row(4, split=""), r"row 6 has nothing in column split"),
    "an empty group": (
        _rows(rows(group=lambda i: i or "")),
        r"row 2 has nothing in column group",
    ),
    "an image missing": (_row(2, image="images/q.png"), r"column image .*1 file\(s\) \(images/q"),
    "a label missing": (_row(2, label="masks/q.png"), r"column label names 1 file\(s\) \(masks/q"),
    "paths from elsewhere": (
        _rows([{k: f"mine/{v}" for k, v in row.items()} for row in rows()]),
        r"10 file\(s\) \(mine/images/p0\.png.*7 more\).*expected paths from .*mine;",
    ),
    "an image that is no file": (_row(2, image="."), r"column image names 1 file\(s\) \(\.\)"),
    "an image twice, spelt otherwise": (_row(2, image="./images/p0.png"), r"p0\.png\) twice"),
    "an image twice": (_row(2, image="images/p0.png"), r"lists 1 image\(s\) .*p0\.png\) twice"),
    "an unknown split": (_row(7, split="valid"), r"split 'valid' for p7; expected train, val or"),
    "no test": (_rows(rows(split=lambda i: "val" if i > 7 else "train")), r"test is empty"),
    "a group in two splits": (
        _rows(rows(split=part, group=lambda i: i % 7)),
        r"1 group\(s\) \(0\) both in train and in val",
    ),
    "two groups": (_rows(rows(group=lambda i: i % 2)), r"2 group\(s\) \(0, 1\) are too few"),
    "two images": (_rows(rows(2)), r"table\.csv: 2 image\(s\) are too few"),
    "a mask as an image": (
        _row(2, label="images/p2.png"),
        r"p2\.png is a mask in colour.*\(RGB, 960 colours\).*, \.\.\.\)",
    ),
    "a text as a mask": (_row(2, label="table.csv"), r"table\.csv does not open as an image"),
    "another size": (
        lambda root: save(root / "masks/p3.png", square(255, (20, 30))),
        r"p3\.png is 30x20 pixels, its image p3\.png 40x24",
    ),
    "empty masks": (
        lambda root: [save(root / f"masks/p{i}.png", square(0)) for i in range(10)],
        r"mask in column label of .*table\.csv is empty",
    ),
}


def spoiled(root: Path, fault: str) -> Path:
    """A table with that fault."""
    file = write(make(root), rows(split=part))
    FAULTS[fault][0](root)
    return file


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_clear_sentence_and_nothing_is_written(tmp_path, fault):
    root = tmp_path / "mine"
    refused(csv_table, spoiled(root, fault), FAULTS[fault][1], root)


def test_one_kind_of_groups_only(tmp_path):
    file = write(make(tmp_path), rows(group=lambda i: i))
    with pytest.raises(UserError, match=r"column group, and groups='\(p\)' is given too.*leave"):
        csv_table(file, groups="(p)")
