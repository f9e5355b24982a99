"""Inputs as users bring them, which were once taken wrongly or answered badly: kind by kind."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from own import call, image_folder
from pictures import (
    annotation,
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
)
from PIL import Image

from naslora_core.__main__ import main
from naslora_core.adapters import DecoderOnly, adapt, fold
from naslora_core.data import Dataset, Sample, check, coco, csv_table, folder
from naslora_core.errors import UserError
from naslora_core.sam import build_nano, load_sam
from naslora_core.sam.checkpoints import read_state
from naslora_core.sam.foreign_weights import to_official
from naslora_core.training.evaluation import evaluate
from naslora_core.training.fitting import fit


@pytest.mark.parametrize(("value", "ending"), [(254, "png"), (200, "png"), (-1, "tif")])
def test_one_odd_value_beside_class_numbers_is_taken_for_an_ignore_label(tmp_path, value, ending):
    root = make(tmp_path, 3, value=1)
    for i in range(3):
        odd = square(1).astype(np.int32)
        odd[20:] = value
        (root / "masks" / f"p{i}.png").unlink()
        save(root / "masks" / f"p{i}.{ending}", odd if value < 0 else odd.astype(np.uint8))
    assert f"if {value} marks pixels to ignore, save it as 255" in refused(folder, root)


@pytest.mark.parametrize("depth", [2, 3])
def test_parents_at_any_depth_without_objects_are_no_classes(tmp_path, depth):
    data = instances()
    above = [f"level {i}" for i in range(depth)]
    data["categories"] = [
        {"id": 20 + i, "name": name, "supercategory": above[i - 1] if i else "none"}
        for i, name in enumerate(above)
    ] + [{"id": 7, "name": "crop", "supercategory": above[-1]}]
    make(tmp_path)
    assert coco(write_coco(tmp_path, data)).classes == ("crop",)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_image_in_the_place_of_its_mask_is_named_so(tmp_path, mode):
    root = make(tmp_path)
    grey = Image.fromarray(picture(3)).convert(mode)
    for part in ("images", "masks"):
        save(root / part / "p3.png", grey)
    assert "is p3.png itself" in refused(folder, root)


@pytest.mark.parametrize("load", [folder, csv_table])
def test_links_to_one_mask_are_one_mask_of_several_images(tmp_path, load):
    root = make(tmp_path)
    for i in (1, 2):
        (root / "masks" / f"p{i}.png").unlink()
        os.symlink(root / "masks" / "p0.png", root / "masks" / f"p{i}.png")
    given = root if load is folder else write_table(root, rows())
    assert "p0.png as the mask of 3 image(s)" in refused(load, given)


def test_masks_that_are_the_same_in_every_pixel_are_noted(tmp_path):
    root = make(tmp_path)
    for i in range(8):
        save(root / "masks" / f"p{i}.png", np.roll(square(), i + 1, 1))
    (note,) = (note for note in folder(root).notes if "every pixel" in note)
    assert note.startswith("1 mask(s) (p9)")


@pytest.mark.parametrize("prefix", ["3f2a9c1d-", "export_07_"])
def test_a_name_with_a_prefix_is_told_the_file_without_it(tmp_path, prefix):
    data = instances()
    for one in data["images"]:
        one["file_name"] = prefix + "leaf" + one["file_name"]
    root = make(tmp_path)
    for file in (root / "images").iterdir():
        file.rename(file.with_name("leaf" + file.name))
    message = refused(coco, write_coco(root, data))
    assert f"leafp0.png is the likely file of {prefix}leafp0" in message


@pytest.mark.parametrize("way", ["json", "folder"])
def test_what_follows_from_missing_files_is_no_fault_of_its_own(tmp_path, way):
    root, data = make(tmp_path), instances()
    for one in data["images"]:
        one["file_name"] = "x" + one["file_name"]
    for file in (root / "masks").iterdir():
        file.rename(file.with_name(f"{file.stem}_seg.png"))
    report = check(write_coco(root, data) if way == "json" else root, progress=False)
    assert len(report.faults) == 1


def test_a_box_alone_is_told_to_be_no_polygon(tmp_path):
    data = instances()
    data["annotations"] = [annotation(i, 100 + i, shape=()) for i in range(10)]
    (fault,) = check(write_coco(make(tmp_path), data), progress=False).faults
    assert "has no polygon, but []" in fault and "not a box alone" in fault


def test_looking_at_images_prints_lines_where_there_is_no_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    check(make(tmp_path))
    assert capsys.readouterr().err == "images looked at: 10 of 10\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"<!DOCTYPE html>", "a web page"), (b"version https://git-lfs.github.com/spec", "Git LFS")],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_text_in_the_place_of_weights_is_named(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    assert told in refused(read_state, tmp_path / name, name)


@pytest.mark.parametrize("word", ["net", "ema", "sam_state"])
def test_the_only_dictionary_of_a_checkpoint_is_unwrapped_in_half_precision(tmp_path, word):
    state = load_sam().state_dict()
    found = to_official({word: {k: v.half() for k, v in state.items()}, "epoch": 3}, tmp_path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[k], v.half().float()) for k, v in state.items())


def test_a_part_of_hugging_faces_file_is_named(tmp_path):
    with pytest.raises(UserError, match="Hugging Face's SamModel"):
        to_official({"vision_encoder.pos_embed": torch.zeros(1)}, tmp_path)


@pytest.mark.parametrize("values", [None, [[0, 1]], Image.new("L", (4, 4))])
@pytest.mark.parametrize("door", [fit, evaluate])
def test_what_is_no_array_is_named_at_every_door(values, door):
    samples = [Sample(np.zeros((4, 4, 3), np.uint8), values, "s")]
    model = adapt(build_nano(), DecoderOnly())
    given = samples if door is evaluate else Dataset("d", ("object",), samples, samples, samples)
    with pytest.raises(UserError, match=f"The mask of s is a {type(values).__name__};"):
        door(model, given)


@pytest.mark.parametrize("data", [Dataset("d", ("object",), [], [], []), "folder/"])
def test_data_without_an_image_and_a_path_are_refused(data):
    with pytest.raises(UserError, match="d has no image|The data are 'folder/'"):
        fit(adapt(build_nano(), DecoderOnly()), data)


@pytest.mark.parametrize("words", [["check", "n" * 300], ["fit", "n" * 300]])
def test_a_path_that_the_system_refuses_is_one_sentence(words, capsys):
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "(File name too long); expected a path" in told and "Traceback" not in told


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_picture_that_may_not_be_read_is_told_so(tmp_path, monkeypatch, part):
    root, opened = make(tmp_path), Image.open

    def refusing(file, **how):
        if "p3" in str(file) and part in str(file):
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, **how)

    monkeypatch.setattr(Image, "open", refusing)
    assert "export it again" not in refused(folder, root, "p3.png cannot be read (Permission")


def test_a_split_file_that_may_not_be_read_is_not_called_malformed(tmp_path, monkeypatch):
    root, reading = make(tmp_path), Path.read_bytes
    (root / "split.json").write_text("{}")

    def refusing(file):
        if file.name == "split.json":
            raise PermissionError(13, "Permission denied", str(file))
        return reading(file)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    assert "malformed" not in refused(folder, root, "split.json cannot be read (Permission")


@pytest.mark.parametrize("side", [8, 8193, 100_000, "128"])
def test_a_tile_that_no_memory_holds_is_refused(side):
    with pytest.raises(UserError, match="from 16 to 8192"):
        adapt(build_nano(), DecoderOnly(), tile=side)


def test_the_report_on_a_model_without_adapters_is_a_sentence():
    assert str(fold(adapt(build_nano(), DecoderOnly())).report).startswith("The encoder has no ")


def test_a_csv_log_holds_the_numbers_of_every_step(tmp_path):
    data, out = image_folder(tmp_path / "data"), tmp_path / "run"
    words = ["fit", data, "--method", "decoder_only", "--batch", "2", "--quiet", "--out", out]
    call(*words, "--steps", "4", "--validate-every", "2", "--log", "csv")
    (file,) = (out / "csv").rglob("metrics.csv")
    head, *lines = file.read_text().splitlines()
    assert {"step", "loss", "seconds", "val_dice"} <= set(head.split(","))
    steps = [line.split(",")[head.split(",").index("step")] for line in lines]
    assert steps == ["1", "2", "3", "4"]


@pytest.mark.skipif("tensorboard" in sys.modules, reason="tells what is to be done without it")
def test_tensorboard_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    for name in ("tensorboard", "tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", False)
    data, before = image_folder(tmp_path / "data"), contents(tmp_path)
    with pytest.raises(UserError, match="pip install tensorboard"):
        call("fit", data, "--log", "tensorboard", "--out", tmp_path / "run")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("place", "ending"), [("labels", "txt"), ("images", "json")])
def test_annotations_that_are_no_masks_are_named_by_their_ending(tmp_path, place, ending):
    root = make(tmp_path / "mine")
    (root / "masks").rename(tmp_path / "elsewhere")
    (root / place).mkdir(exist_ok=True)
    (root / place / f"p0.{ending}").write_text("{}")
    assert f".{ending} annotations" in refused(folder, root)


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "mine.zip").write_bytes(b"PK")
    assert "unpack" in refused(folder, tmp_path / "mine.zip")


def test_masks_that_are_nearly_all_object_are_noted(tmp_path):
    root = make(tmp_path, 3)
    save(root / "masks" / "p0.png", np.full_like(square(), 255))
    assert any("p0" in note and "swap" in note for note in check(root).notes)
