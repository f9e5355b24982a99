"""Names of files that are not UTF-8 are told of in words that every terminal can print."""

import json
import os

import pytest
from pictures import instances, make, write_coco

from naslora_core.data import check, folder, open_data
from naslora_core.errors import UserError
from naslora_workbook.lessons.profiles import profile

LATIN = os.fsdecode(b"im\xe9")  # how Python holds a byte that is not UTF-8


def rename(old, new) -> None:
    try:
        old.rename(new)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")


def test_a_file_whose_name_is_not_utf8_is_one_fault(tmp_path):
    root = make(tmp_path / "mine", 4)
    for kind in ("images", "masks"):
        rename(root / kind / "p0.png", root / kind / f"{LATIN}.png")
    with pytest.raises(UserError, match=r"1 name\(s\) \(im.udce9\).*rename"):
        folder(root)
    report = check(root, progress=False)
    assert sum("UTF-8" in fault for fault in report.faults) == 1
    assert str(report).encode()


def test_a_path_that_is_not_utf8(tmp_path):
    rename(make(tmp_path / "mine", 3), tmp_path / LATIN)
    report = check(tmp_path / LATIN, progress=False)
    assert "udce9" in report.faults[0] and str(report).encode()
    with pytest.raises(UserError, match=r"1 name\(s\) \(.*udce9"):
        open_data(str(tmp_path / LATIN), profile())


def test_names_in_a_json_that_are_not_utf8(tmp_path):
    """JSON can hold them as escapes, whatever the file system."""
    data = instances()
    data["images"][0]["file_name"] = f"{LATIN}.png"
    file = write_coco(make(tmp_path / "mine"), data)
    report = check(file, progress=False)
    assert any("1 file(s) (im" in fault and "udce9" in fault for fault in report.faults)
    split = {"train": [LATIN], "val": ["p1"], "test": ["p2"]}
    (tmp_path / "mine/split.json").write_text(json.dumps(split))
    assert str(report).encode() and str(check(tmp_path / "mine", progress=False)).encode()
