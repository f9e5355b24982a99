"""The check before a training: a table, faults and notes; nothing is raised or written."""

import json
import re
import time

import numpy as np
import pytest
from pictures import SHAPE, annotation, box, instances, make, picture, save, square, write_coco
from PIL import Image
from test_splits import PATTERN, patients

from naslora_core.__main__ import main
from naslora_core.data import check, inspection
from naslora_core.data.report import COLUMNS, Report


def quiet(path, **options) -> Report:
    return check(path, progress=False, **options)


def told(report: Report, *words: str) -> int:
    """How many notes hold all these words."""
    return sum(all(word in note for word in words) for note in report.notes)


def test_the_colours_of_all_masks_are_listed_once(tmp_path):
    root = make(tmp_path)
    for i in range(2):
        save(root / f"masks/p{i}.png", np.full((*SHAPE, 3), (200, 0, 30 * i), np.uint8))
    (fault,) = quiet(root).faults
    assert "All 2 colours of these masks" in fault
    assert "(200, 0, 0) -> 0, (200, 0, 30) -> 1" in fault


def test_rows_count_sizes_classes_and_foreground(tmp_path):
    root = make(tmp_path, 6, value=1)
    for i in (0, 1):
        save(root / f"images/p{i}.png", picture(i, (12, 20)))
        save(root / f"masks/p{i}.png", np.full((12, 20), 2 * i, np.uint8))
    split = {"train": ["p1", "p2", "p3"], "val": ["p4"], "test": ["p0"]}
    (root / "split.json").write_text(json.dumps(split))
    report = quiet(root)
    rows = {row["part"]: [row[c] for c in COLUMNS[1:]] for row in report.rows}
    share = f"{112 / (24 * 40):.1%}"  # of the square
    assert report.ok and list(rows) == ["train", "val", "test", "all", "1: class 1", "2: class 2"]
    assert rows["train"] == [
        "3",
        "20x12 / 40x24 / 40x24",
        "0",
        f"{share}, {share} to 100%",
    ]
    assert rows["test"] == ["1", "20x12 / 20x12 / 20x12", "1", "0%, 0% to 0%"]
    assert rows["all"][0] == "6" and rows["1: class 1"][0] == "4" and rows["2: class 2"][0] == "1"
    notes = " ".join(report.notes)
    assert "1 image(s) (p0) with an empty mask" in notes
    assert "1 image(s) (p5) in no split" in notes


def test_a_class_that_training_never_sees_is_noted(tmp_path):
    root = make(tmp_path, 3, value=1)
    save(root / "masks/p2.png", square(3))
    (root / "split.json").write_text('{"train": ["p0"], "val": ["p1"], "test": ["p2"]}')
    report = quiet(root)
    assert told(report, "1 of 3 classes", "class 2", "in no mask")
    assert told(report, "1 of 3 classes", "class 3", "train")


def test_classes_that_occur_nowhere_are_one_note(tmp_path):
    report = quiet(make(tmp_path, value=40))
    assert told(report, "39 of 40 classes", "class 1, class 2, class 3 and 36 more") == 1


def grid(kinds: int, pieces: int) -> np.ndarray:
    """A mask of dots; number n, up to kinds, in so many dots."""
    mask = np.zeros((24, 40), np.uint16)
    for dot in range(kinds * pieces):
        mask[dot // 12 * 3, dot % 12 * 3] = dot % kinds + 1
    return mask


@pytest.mark.parametrize(
    ("kinds", "pieces", "varied", "noted"),
    [(12, 1, 3, 1), (12, 2, 3, 0), (5, 1, 3, 1), (3, 1, 2, 1), (5, 2, 3, 0), (3, 1, 1, 0)],
)
def test_numbers_of_one_piece_each_are_noted_as_objects(tmp_path, kinds, pieces, varied, noted):
    """Few numbers too, where masks count to different ends; organs, all in each mask, are none."""
    root = make(tmp_path)
    for i in range(10):
        save(root / f"masks/p{i}.png", grid(kinds - i % varied, pieces))
    report = quiet(root)
    assert report.ok and told(report, str(kinds), "object numbers") == noted


def test_classes_of_which_some_images_lack_some_are_no_objects(tmp_path):
    root = make(tmp_path)
    for i in range(10):
        mask = grid(4, 1)
        mask[mask == i % 4 + 1] = 0
        save(root / f"masks/p{i}.png", mask)
    assert not told(quiet(root), "object numbers")


def test_objects_of_named_classes_are_none(tmp_path):
    data = instances()
    data["categories"] += [{"id": 20 + i, "name": f"c{i}"} for i in range(9)]
    data["annotations"].append(annotation(60, 100, 20, box(25, 15, 35, 22)))
    report = quiet(write_coco(make(tmp_path), data))
    assert report.ok and not any("object numbers" in note for note in report.notes)


def test_files_that_are_not_read_are_noted(tmp_path):
    root = make(tmp_path)
    for name in ("images/q0.heic", "images/q1.HEIC", "images/notes.txt", "masks/q0.svg", "LICENSE"):
        (root / name).write_text("hello")
    (root / "images/more").mkdir()
    for name in ("q8", "q9"):
        save(root / f"masks/{name}.png", square())
    report = quiet(root)
    assert report.ok
    for words in (
        r"images also holds 2 \.heic, .*1 \.txt.*; only files ending in \.png",
        r"images also holds .*1 folder\(s\)",
        r"masks also holds 1 \.svg;",
        r"2 mask\(s\) \(q8, q9\) without an image of the same name",
    ):
        assert sum(bool(re.search(words, note)) for note in report.notes) == 1, words


def test_further_frames_of_a_tiff_are_noted(tmp_path):
    root = make(tmp_path, 4)
    (root / "images/p0.png").unlink()
    frame = Image.fromarray(picture())
    save(root / "images/p0.tif", frame, save_all=True, append_images=[frame] * 2)
    report = quiet(root)
    assert report.ok and told(report, "1 image(s) (p0)", "frames") == 1


def test_unusual_pictures_are_noted_and_stop_nothing(tmp_path, monkeypatch):
    root = make(tmp_path, 9)
    modes = {"L": "grey", "P": "palette", "RGBA": "alpha", "LA": "alpha", "1": "grey"}
    for i, mode in enumerate(modes):
        save(root / f"images/p{i}.png", Image.fromarray(picture(i)).convert(mode))
    (root / "images/p5.png").unlink()
    save(root / "images/p5.tif", Image.fromarray(picture(5)).convert("CMYK"))
    save(root / "images/p6.png", Image.fromarray(picture(6)[..., 0].astype(np.uint16) * 90))
    exif = Image.Exif()
    exif[0x0112] = 3
    save(root / "images/p7.png", picture(7), exif=exif)
    report = quiet(root)
    assert report.ok
    for words in (
        r"6 image\(s\) \(p0, p1, p2 and 3 more\) of grey.*converted",
        r"1 image\(s\) \(p6\) of 16 bits",
        r"1 image\(s\) \(p7\) turned by their EXIF",
    ):
        assert any(re.search(words, note) for note in report.notes), words
    monkeypatch.setattr(inspection, "MEGAPIXELS", 0)
    huge = [note for note in quiet(root).notes if "megapixels" in note]
    assert len(huge) == 1 and re.search(r"9 image\(s\).*--tile", huge[0])


def test_duplicates_across_splits_are_noted_with_both_names(tmp_path):
    root = make(tmp_path, 6)
    smooth = np.kron(np.random.default_rng(3).integers(0, 255, (6, 10, 3)), np.ones((4, 4, 1)))
    save(root / "images/p0.png", smooth.astype(np.uint8))
    save(root / "images/p5.png", (smooth * 0.9).astype(np.uint8))
    split = {"train": ["p0", "p1", "p2"], "val": ["p3"], "test": ["p5"]}
    (root / "split.json").write_text(json.dumps(split))
    notes = quiet(root).notes
    assert any("1 pair(s) (train/p0 ~ test/p5) across splits" in note for note in notes)


def test_groups_are_looked_at(tmp_path):
    root = patients(tmp_path)
    assert quiet(root, groups=PATTERN).ok
    (fault,) = quiet(root, groups="(patient)").faults
    assert "1 group(s) (patient)" in fault


def test_a_report_reads_as_a_table_and_as_html(tmp_path):
    root = make(tmp_path / "<mine>")
    save(root / "masks/p1.png", square(77))
    report = quiet(root)
    text, page = str(report), report._repr_html_()
    assert text.startswith("<mine>: 1 fault(s) stop a training\npart ")
    assert "\nFaults:\n  - " in text and re.search(r"\nall +10 ", text)
    assert "&lt;mine&gt;" in page and "<mine>" not in page


@pytest.mark.parametrize("path", ["nowhere", "nowhere.csv", "nowhere.json"])
def test_nothing_there(tmp_path, path):
    report = quiet(tmp_path / path)
    assert len(report.faults) == 1 and not report.rows and "nowhere" in str(report)


def test_the_command_says_by_its_status_whether_to_train(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("naslora_workbook.publishing.environment.enter", lambda words: None)
    root = make(tmp_path / "mine")
    assert main(["check", str(root)]) == 0
    assert "mine: no fault" in capsys.readouterr().out
    assert main(["check", str(root), "--groups", "(q)"]) == 1
    assert "10 image(s)" in capsys.readouterr().out


@pytest.mark.data
def test_a_real_set_is_checked_quickly(real_data):
    start = time.process_time()
    report = quiet(real_data / "kvasir_polyp")
    assert time.process_time() - start < 10
    assert report.ok and [row["images"] for row in report.rows] == ["540", "60", "120", "720"]


def test_broken_masks_do_not_make_the_others_all_empty(tmp_path):
    root = make(tmp_path, 3)
    save(root / "masks/p0.png", square(0))
    for i in (1, 2):
        (root / f"masks/p{i}.png").write_text("hello")
    (fault,) = quiet(root).faults
    assert "p1.png" in fault and "1 image(s) (p2)" in fault
