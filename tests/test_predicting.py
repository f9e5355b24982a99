"""`predict` by the shell: it replaces its own masks alone, and draws over images."""

import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from own import adapter_file, call, image_folder, picture
from PIL import Image
from tiny import tiny_data

from naslora_core.adapters import DecoderOnly, adapt, save_adapter
from naslora_core.cli import drawing
from naslora_core.cli.using import classes_of
from naslora_core.data import with_classes
from naslora_core.errors import UserError
from naslora_core.sam import load_sam
from naslora_core.training.prediction import predict_image
from naslora_workbook.figures.masks import show_masks


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("mine") / "data", 3)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return adapter_file(tmp_path_factory.mktemp("adapter") / "a.safetensors")


def test_masks_drawn_by_hand_are_not_replaced(images, adapter, tmp_path):
    before = {p: p.read_bytes() for p in (images / "masks").iterdir()}
    with pytest.raises(UserError, match=r"masks holds 3 file.s. \(square0.png.*not write"):
        call("predict", adapter, images / "images", "--out", images / "masks")
    assert before == {p: p.read_bytes() for p in (images / "masks").iterdir()}
    (tmp_path / "square1_overlay.png").write_bytes(b"no picture")
    call("predict", adapter, images / "images", "--out", tmp_path)  # draws no overlay
    with pytest.raises(UserError, match=r"1 file.s. \(square1_overlay.png\)"):
        call("predict", adapter, images / "images", "--out", tmp_path, "--overlay")


def test_predicts_own_masks_are_replaced_until_a_hand_corrects_them(images, adapter, tmp_path):
    words = "predict", adapter, images / "images", "--out", tmp_path, "--overlay"
    call(*words)
    first = {p: p.read_bytes() for p in tmp_path.iterdir()}
    call(*words)
    assert first == {p: p.read_bytes() for p in tmp_path.iterdir()}
    Image.fromarray(255 - picture(tmp_path / "square2.png")).save(tmp_path / "square2.png")
    with pytest.raises(UserError, match=r"1 file.s. \(square2.png\) that predict did not write"):
        call(*words)


@pytest.mark.parametrize("classes", [0, 1, 3, 200])
def test_an_overlay_is_half_image_half_colour_and_takes_little_memory(classes):
    rng = np.random.default_rng(classes)
    image = rng.integers(0, 256, (300, 400, 3), np.uint8)
    mask = rng.integers(0, classes + 1, (300, 400)).astype(np.uint8)
    tracemalloc.start()
    over = drawing.overlaid(image, mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(over[mask == 0], image[mask == 0]) and peak < 30 * mask.size
    for label in range(1, classes + 1):
        colour = np.array(drawing.COLOURS[(label - 1) % len(drawing.COLOURS)])
        assert np.abs(over[mask == label] - (image[mask == label] + colour) / 2).max() <= 1


@pytest.mark.parametrize("broken", ["cut", "text", "deep"])
def test_predict_goes_on_past_a_picture_that_does_not_open(broken, images, adapter, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(images / "images", mixed)
    whole = (mixed / "square0.png").read_bytes()
    if broken == "deep":
        (mixed / "bad.png").write_bytes(whole[:24] + b"\x10" + whole[25:])
    else:
        (mixed / "bad.png").write_bytes(whole[:200] if broken == "cut" else b"no picture")
    with pytest.raises(UserError, match=r"1 of 4 .*bad\.png"):
        call("predict", adapter, mixed, "--out", tmp_path / "out")
    assert sorted(p.stem for p in (tmp_path / "out").iterdir()) == [f"square{i}" for i in range(3)]


@pytest.mark.parametrize("ending", ["webp", "gif", "ppm"])
def test_a_picture_that_is_named_is_read_whatever_its_ending(ending, images, adapter, tmp_path):
    file = tmp_path / f"one.{ending}"
    Image.open(images / "images" / "square0.png").save(file)
    call("predict", adapter, file, "--out", tmp_path / "out")
    assert picture(tmp_path / "out" / "one.png").shape == (64, 96)


def test_masks_of_several_classes_are_told_apart_from_black(images, tmp_path, capsys):
    several = adapter_file(tmp_path / "several.safetensors", classes=3)
    call("predict", several, images / "images", "--out", tmp_path / "out")
    assert "3 class 3" in (said := capsys.readouterr().out) and "--overlay" in said


@pytest.mark.parametrize("image", [
    np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)),
    np.zeros((0, 8, 3), np.uint8), "photo.jpg", np.zeros((3, 8, 8), np.uint8),
])  # fmt: skip
def test_an_array_that_is_no_image_is_refused(image):
    with pytest.raises(UserError, match="The image of .*expected"):
        predict_image(None, image)


def test_no_image_is_no_grid():
    with pytest.raises(UserError, match="There is no image to draw"):
        show_masks([], [])


def named(path, names, tile=None):
    model = adapt(load_sam(), DecoderOnly(), len(names), tile=tile)
    model.class_names = tuple(names)
    return save_adapter(model, path)


@pytest.mark.parametrize("order", [("crop", "weed"), ("weed", "crop"), ("WEED", "Crop")])
def test_classes_are_matched_by_name_whatever_their_order(order):
    data = replace(tiny_data(classes=2), classes=order)
    model = adapt(load_sam(), DecoderOnly(), 2)
    model.class_names = ("crop", "weed")
    found = with_classes(data, classes_of(model))
    swap = order[0] != "crop"
    wanted = [np.where(s.mask > 0, 3 - s.mask, 0) if swap else s.mask for s in data.test]
    assert found.classes == ("crop", "weed")
    assert all(np.array_equal(f.mask, w) for f, w in zip(found.test, wanted, strict=True))


@pytest.mark.parametrize("other", [("crop", "soil"), ("Unkraut", "Kraut")])
def test_a_class_that_the_model_was_not_trained_on_is_named(other):
    model = adapt(load_sam(), DecoderOnly(), 2)
    model.class_names = ("crop", "weed")
    with pytest.raises(UserError, match=other[1]):
        with_classes(replace(tiny_data(classes=2), classes=other), classes_of(model))


def test_names_of_classes_are_told_with_the_masks(images, tmp_path, capsys):
    file = named(tmp_path / "a.safetensors", ("crop", "weed"))
    call("predict", file, images / "images", "--out", tmp_path / "out")
    assert "1 crop, 2 weed" in capsys.readouterr().out


def test_a_model_of_tiles_reads_pictures_beyond_pillows_limit(tmp_path, monkeypatch):
    file = named(tmp_path / "a.safetensors", ("object",), tile=64)
    Image.fromarray(np.zeros((100, 150, 3), np.uint8)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match="--tile"):
        call("predict", adapter_file(tmp_path / "b.safetensors"), tmp_path / "large.png",
             "--out", tmp_path / "out")  # fmt: skip
    call("predict", file, tmp_path / "large.png", "--out", tmp_path / "out")
    assert picture(tmp_path / "out" / "large.png").shape == (100, 150)


@pytest.mark.parametrize("content", [b"notes", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"])
@pytest.mark.parametrize("ending", ["pth", "onnx", "safetensors"])
def test_export_replaces_nothing_that_it_did_not_write(adapter, tmp_path, ending, content):
    out = tmp_path / f"mine.{ending}"
    out.write_bytes(content)
    with pytest.raises(UserError, match=rf"mine\.{ending}.* export did not write"):
        call("export", adapter, out)
    assert out.read_bytes() == content


def test_export_replaces_its_own_and_tells_how_squares_are_fed(adapter, tmp_path, capsys):
    for _ in range(2):
        call("export", adapter, tmp_path / "mine.safetensors")
    call("export", adapter, tmp_path / "mine.pth")
    assert "SamPredictor" in capsys.readouterr().out
    padded = adapt(load_sam(), DecoderOnly(), resize="pad")
    call("export", save_adapter(padded, tmp_path / "p.safetensors"), tmp_path / "p.pth")
    assert "SamPredictor" not in capsys.readouterr().out


@pytest.mark.parametrize("name, content, what", [
    ("vit.pth", b"PK\x03\x04....", "torch.save"), ("state.pt", b"\x80\x02....", "pickle"),
    ("e.onnx", b"\x08\x07\x12\x07pytorch", "ONNX"), ("run.json", b"{}", "JSON"),
    ("a.png", b"\x89PNG\r\n\x1a\n..", "picture"),
])  # fmt: skip
def test_a_file_that_is_no_model_is_named_as_what_it_is(images, tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is .*{what}"):
        call("predict", tmp_path / name, images / "images", "--out", tmp_path / "out")


@pytest.mark.parametrize("split", ["train", "test"])
def test_evaluate_says_in_one_line_what_check_notes(adapter, tmp_path, capsys, split):
    folder = image_folder(tmp_path / "data", 6)
    for copy in ("a", "b"):  # the same picture under another name
        for kind in ("images", "masks"):
            shutil.copy(folder / kind / "square0.png", folder / kind / f"{copy}.png")
    call("evaluate", folder, adapter, "--split", split, "--worst", 0)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("Note: ") for line in lines) == 1 and "naslora check" in lines[0]
