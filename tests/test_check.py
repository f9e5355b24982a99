"""The check before a training: every fault at once, in the loaders' words; nothing is raised."""

import json
import re
import time

import numpy as np
import pytest
import test_coco
import test_csv
import test_folder
import test_splits
from pictures import SHAPE, contents, make, picture, save, square
from PIL import Image

from naslora_core.__main__ import main
from naslora_core.data import check
from naslora_core.data import data_check as look
from naslora_core.data.data_check import COLUMNS, Report

SPOILED = {"folder": test_folder, "csv": test_csv, "coco": test_coco}
CASES = [(kind, fault) for kind, room in SPOILED.items() for fault in room.FAULTS]


def quiet(path, **options) -> Report:
    return check(path, progress=False, **options)


@pytest.mark.parametrize(("kind", "fault"), CASES)
def test_every_fault_of_the_loaders_is_reported_and_nothing_is_written(tmp_path, kind, fault):
    root = tmp_path / "mine"
    path = SPOILED[kind].spoiled(root, fault)
    before = contents(root)
    report = quiet(path)
    words = SPOILED[kind].FAULTS[fault][1]
    assert any(re.search(words, found) for found in report.faults), report
    assert not report.ok and contents(root) == before
    assert all(f.endswith(".") and "\n" not in f for f in report.faults)


def test_how_many_bad_inputs_are_tried():
    """Each is another input, with the sentence that it must give, and nothing written."""
    rooms = (*SPOILED.values(), test_splits)
    assert sum(len(room.FAULTS) for room in rooms) >= 130


def test_all_faults_at_once_each_kind_in_one_sentence(tmp_path):
    root = make(tmp_path)
    coloured = np.repeat(square()[..., None], 3, 2) // np.array([1, 2, 3], np.uint8)
    for i, values in enumerate((coloured, coloured[..., ::-1].copy(), coloured // 2)):
        save(root / f"masks/p{i}.png", values)
    (root / "images/p4.png").write_text("hello")
    (root / "masks/p5.png").write_text("hello")
    save(root / "masks/p6.png", square(255, (5, 5)))
    save(root / "masks/p7.png", square(77))
    (root / "masks/p8.png").unlink()
    (root / "split.json").write_text("{")
    faults = quiet(root).faults
    assert len(faults) == 7
    for words in (
        r"split\.json is malformed",
        r"1 image\(s\) \(p8\)",
        r"p0\.png is a mask in colour.* The same goes for 2 image\(s\) \(p1, p2\)\. All 4 colours",
        r"images.p4\.png does not open",
        r"masks.p5\.png does not open",
        r"p6\.png is 5x5",
        r"p7\.png holds the 2 value\(s\) 0, 77; .*0 -> 0, 77 -> 1",
    ):
        assert sum(bool(re.search(words, fault)) for fault in faults) == 1, words


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
    notes = quiet(root).notes
    assert "1 of 3 classes occur nowhere: class 2; " in notes[0]
    assert "1 of 3 classes are in no image of train: class 3; they cannot be learnt" in notes[1]


def test_classes_that_occur_nowhere_are_one_note(tmp_path):
    (note,) = quiet(make(tmp_path, value=40)).notes
    assert note.startswith("39 of 40 classes occur nowhere: class 1, class 2, class 3 and 36 more;")


def grid(kinds: int, pieces: int) -> np.ndarray:
    """A mask of dots; number n, up to kinds, in so many dots."""
    mask = np.zeros((24, 40), np.uint16)
    for dot in range(kinds * pieces):
        mask[dot // 12 * 3, dot % 12 * 3] = dot % kinds + 1
    return mask


@pytest.mark.parametrize(("kinds", "pieces", "told"), [(12, 1, 1), (12, 2, 0), (8, 1, 0)])
def test_numbers_of_one_piece_each_are_noted_as_objects(tmp_path, kinds, pieces, told):
    root = make(tmp_path)
    for i in range(10):
        save(root / f"masks/p{i}.png", grid(kinds - i % 3, pieces))
    report = quiet(root)
    words = f"The {kinds} numbers of the masks look like object numbers"
    assert report.ok and sum(note.startswith(words) for note in report.notes) == told


def test_objects_of_named_classes_are_none(tmp_path):
    data = test_coco.instances()
    data["categories"] += [{"id": 20 + i, "name": f"c{i}"} for i in range(9)]
    data["annotations"].append(test_coco.annotation(60, 100, 20, test_coco.box(25, 15, 35, 22)))
    report = quiet(test_coco.write(make(tmp_path), data))
    assert report.ok and not any("object numbers" in note for note in report.notes)


def test_files_that_are_not_read_are_noted(tmp_path):
    root = make(tmp_path)
    for name in ("images/q0.webp", "images/q1.WEBP", "images/notes.txt", "masks/q0.gif", "LICENSE"):
        (root / name).write_text("hello")
    (root / "images/more").mkdir()
    for name in ("q8", "q9"):
        save(root / f"masks/{name}.png", square())
    report = quiet(root)
    assert report.ok
    for words in (
        r"images also holds 2 \.webp, .*1 \.txt.*; only files ending in \.png",
        r"images also holds .*1 folder\(s\)",
        r"masks also holds 1 \.gif;",
        r"2 mask\(s\) \(q8, q9\) without an image of the same name",
    ):
        assert sum(bool(re.search(words, note)) for note in report.notes) == 1, words


def test_further_frames_of_a_tiff_are_noted(tmp_path):
    root = make(tmp_path, 4)
    for kind, name, values in (("images", "p0", picture()), ("masks", "p1", square())):
        (root / kind / f"{name}.png").unlink()
        frame = Image.fromarray(values)
        save(root / kind / f"{name}.tif", frame, save_all=True, append_images=[frame] * 2)
    report = quiet(root)
    assert report.ok and sum("only the first of each" in note for note in report.notes) == 2
    assert any("1 image(s) (p0) of several frames" in note for note in report.notes)
    assert any("1 image(s) (p1) with a mask of several" in note for note in report.notes)


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
        r"2 image\(s\) \(p0, p4\) grey",
        r"1 image\(s\) \(p1\) of palette",
        r"2 image\(s\) \(p2, p3\) with an alpha",
        r"1 image\(s\) \(p5\) CMYK",
        r"1 image\(s\) \(p6\) of 16 bits",
        r"1 image\(s\) \(p7\) turned by their EXIF",
    ):
        assert any(re.search(words, note) for note in report.notes), words
    monkeypatch.setattr(look, "MEGAPIXELS", 0)
    huge = [note for note in quiet(root).notes if "megapixels" in note]
    assert len(huge) == 1 and re.search(r"9 image\(s\).* take \d+\.\d s to read", huge[0])


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
    root = test_splits.patients(tmp_path)
    assert quiet(root, groups=test_splits.PATTERN).ok
    (fault,) = quiet(root, groups="(patient)").faults
    assert "1 group(s) (patient)" in fault


def test_a_report_reads_as_a_table_and_as_html(tmp_path):
    root = make(tmp_path / "<mine>")
    save(root / "masks/p1.png", square(77))
    report = quiet(root)
    text, page = str(report), report._repr_html_()
    assert text.startswith("<mine>: 1 fault(s) stop a training\npart ")
    assert "\nFaults:\n  - " in text and re.search(r"\nall +10 ", text)
    assert "&lt;mine&gt;" in page and "<mine>" not in page and page.count("<tr>") == 5


@pytest.mark.parametrize("path", ["nowhere", "nowhere.csv", "nowhere.json"])
def test_nothing_there(tmp_path, path):
    report = quiet(tmp_path / path)
    assert len(report.faults) == 1 and not report.rows and "nowhere" in str(report)


def test_the_command_says_by_its_status_whether_to_train(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("naslora_core.__main__.enter", lambda words: None)  # no installation
    root = make(tmp_path / "mine")
    assert main(["check", str(root)]) == 0
    assert "mine: no fault" in capsys.readouterr().out
    assert main(["check", str(root), "--groups", "(q)"]) == 1
    assert "finds nothing in 10 image(s)" in capsys.readouterr().out


@pytest.mark.data
def test_a_real_set_is_checked_quickly(real_data):
    start = time.process_time()
    report = quiet(real_data / "kvasir_polyp")
    assert time.process_time() - start < 10
    assert report.ok and [row["images"] for row in report.rows] == ["540", "60", "120", "720"]


def test_crowds_are_a_note(tmp_path):
    data = test_coco.instances()
    data["annotations"].append(test_coco.annotation(60, iscrowd=1))
    report = quiet(test_coco.write(make(tmp_path), data))
    assert report.ok and any("1 crowd(s) (iscrowd)" in note for note in report.notes)


def test_broken_masks_do_not_make_the_others_all_empty(tmp_path):
    root = make(tmp_path, 3)
    save(root / "masks/p0.png", square(0))
    for i in (1, 2):
        (root / f"masks/p{i}.png").write_text("hello")
    (fault,) = quiet(root).faults
    assert "does not open" in fault and "The same goes for 1 image(s) (p2)." in fault
