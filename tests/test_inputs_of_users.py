"""Inputs as users bring them, which were once taken wrongly or answered badly: kind by kind."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from own import adapter_file, call, image_folder
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
from safetensors.torch import save_file

from naslora_core.__main__ import main
from naslora_core.adapters import DecoderOnly, adapt, fold, load_adapter
from naslora_core.adapters.checkpoint import open_model
from naslora_core.data import Dataset, Sample, check, coco, csv_table, folder, match_classes
from naslora_core.errors import UserError
from naslora_core.sam import build_nano, load_sam
from naslora_core.sam.checkpoints import read_state
from naslora_core.sam.foreign_weights import to_official
from naslora_core.training.evaluation import evaluate, score_masks
from naslora_core.training.fitting import fit
from naslora_core.training.prediction import predict_image


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
    assert capsys.readouterr().err.splitlines()[-1] == "images looked at: 10 of 10"


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


@pytest.mark.parametrize(("word", "status"), [("check", 1), ("fit", 2)])
def test_a_path_that_the_system_refuses_is_one_sentence(word, status, capsys):
    assert main([word, "n" * 300]) == status
    told = "".join(capsys.readouterr())
    assert "(File name too long); expected a " in told and "Traceback" not in told


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


# --- inputs of annotation tools, exports and checkpoints, a second time ---


@pytest.mark.parametrize(
    ("model", "data", "numbers"),
    [
        (("Leaf", "leaf"), ("leaf", "Leaf"), (2, 1)),
        (("bl\u00e9", "sol"), ("ble\u0301", "sol "), (1, 2)),
        (("polyp",), ("Object",), (1,)),
        (("Leaf", "leaf"), ("LEAF",), None),
        (("leaf", "soil"), ("Leaf", "leaf"), None),
        (("a", "a", "b"), ("a", "a", "b"), None),
    ],
)
def test_names_that_differ_in_spelling_alone_are_never_one_class(model, data, numbers):
    if numbers:
        assert match_classes(model, data) == numbers
    else:
        with pytest.raises(UserError, match=data[0]):
            match_classes(model, data)


def spoilt(key: str, value, where: str = "annotations"):
    data = instances()
    data[where][0][key] = value
    return data


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (instances() | {"categories": [{"id": 7, "name": "a"}, {"id": 9, "name": "a"}]}, "(a)"),
        (spoilt("width", 10**6, "images"), "1000000x24"),
        (spoilt("height", True, "images"), "True"),
        (spoilt("segmentation", [[10**400, 2, 3, 4, 5, 6]]), "no polygon"),
        (spoilt("segmentation", [[float("nan"), 2, 3, 4, 5, 6]]), "no polygon"),
        (spoilt("file_name", "x" * 400 + ".png", "images"), "name too long"),
    ],
)
def test_values_of_a_json_that_no_tool_should_write_are_named(tmp_path, data, named):
    file = write_coco(make(tmp_path), data)
    refused(coco, file, named)
    assert any(named in fault for fault in check(file, progress=False).faults)


def test_a_supercategory_of_another_type_is_no_parent(tmp_path):
    assert coco(write_coco(make(tmp_path), spoilt("supercategory", ["plants"], "categories")))


@pytest.mark.parametrize(("kind", "target"), [("images", "no"), ("masks", "no"), ("masks", "p3")])
def test_a_link_to_nothing_is_a_picture_that_does_not_open(tmp_path, kind, target):
    root = make(tmp_path)
    (root / kind / "p3.png").unlink()
    os.symlink(f"{target}.png", root / kind / "p3.png")
    assert any(f"{kind}/p3.png does not open" in f for f in check(root, progress=False).faults)


@pytest.mark.parametrize("odd", ["p\n1", "p\x1b[31m1", "p\u202e1"])
def test_a_name_with_line_breaks_or_terminal_commands_is_told_in_one_line(tmp_path, odd):
    (make(tmp_path) / f"images/{odd}.png").write_bytes(b"no picture")
    save(tmp_path / f"masks/{odd}.png", square())
    message = refused(folder, tmp_path)
    assert message.isprintable() and odd.encode("unicode_escape").decode() in message
    assert odd not in str(check(tmp_path, progress=False))


@pytest.mark.parametrize(("files", "given", "remedy"), [
    (["images", "masks"], "images", ", which has both"),
    (["images", "masks"], "masks", ", which has both"),
    (["train"], ".", "train/_annotations.coco.json, if it"),
    (["images"], ".", "labels.csv, if it"),
])  # fmt: skip
def test_a_folder_without_its_parts_is_told_the_likely_place(tmp_path, files, given, remedy):
    for name in files:
        save(tmp_path / name / "a.png", picture())
    if "train" in files:
        (tmp_path / "train/_annotations.coco.json").write_text("{}")
    elif "masks" not in files:
        (tmp_path / "labels.csv").write_text("image,label\n")
    assert remedy in refused(folder, tmp_path / given)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (square().astype(np.uint16) * 257, "if 65535 is its object"),
        (square(2).astype(np.uint16) * 257, "if 514 is its object"),
        (np.full((24, 40, 3), 255, np.uint8) - square()[..., None] * np.uint8([0, 1, 1]),
         "(255, 255, 255) -> 0, (255, 0, 0) -> 1"),
        (np.dstack([square(), square() * 0, square() * 0]), "(0, 0, 0) -> 0, (255, 0, 0) -> 1"),
    ],
)  # fmt: skip
def test_the_likely_meaning_of_a_mask_comes_first(tmp_path, values, told):
    root = make(tmp_path, 3)
    save(root / "masks/p1.png", values)
    assert told in refused(folder, root)


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (lambda i: 255 - np.roll(square(), i, 1), "swap 0 and 255"),
        (lambda i: 1 - np.roll(square(1), i, 1), "swap 0 and 255"),
        (lambda i: 1 + np.roll(square(1), i, 1), "subtract 1"),
        (lambda i: 1 + np.roll(square(1 + i % 2), i, 1), "subtract 1"),
    ],
)
def test_masks_that_are_inverted_or_count_from_one_are_noted(tmp_path, of, told):
    root = make(tmp_path, 6)
    assert not any(told in note for note in check(root, progress=False).notes)
    for i in range(6):
        save(root / f"masks/p{i}.png", of(i))
    assert any(told in note for note in check(root, progress=False).notes)


@pytest.mark.parametrize("transparency", [0, bytes([0, 200])])
def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path, recwarn, transparency):
    image = Image.fromarray(square(1))
    image.putpalette([9, 9, 9, 200, 30, 30])
    save(make(tmp_path, 3) / "images/p1.png", image, transparency=transparency)
    assert folder(tmp_path) and not [w for w in recwarn if "Palette" in str(w.message)]


@pytest.mark.parametrize("load", [folder, csv_table, coco, check, open_model, load_adapter])
@pytest.mark.parametrize("given", [None, 5])
def test_what_is_no_path_is_told_so(load, given):
    with pytest.raises(UserError, match="no path") as caught:
        found = load(load_sam(), given) if load is load_adapter else load(given)
        raise UserError(found.faults[0])  # of a check, which raises nothing
    assert str(caught.value).startswith(str(given))


STATE = load_sam().state_dict()


def prefixed(prefix: str, **more) -> dict:
    return {prefix + name: tensor for name, tensor in STATE.items()} | more


@pytest.mark.parametrize(
    "held",
    [
        {"model": "vit_b", "state_dict": STATE},
        {"model": {"model": prefixed("module.")}},
        {"state_dict": prefixed("model.sam.", **{"loss.weight": torch.ones(2)})},
        prefixed("net.image.", **{"classifier.bias": torch.ones(2)}),
    ],
    ids=["an architecture's name", "twice wrapped", "a loss beside", "a prefix of their own"],
)
def test_a_sam_is_found_under_any_prefix_and_beside_other_parts(tmp_path, held):
    found = to_official(held, tmp_path)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.bin"])
@pytest.mark.parametrize("write", [save_file, torch.save])
def test_weights_are_read_by_what_they_are_and_not_by_their_ending(tmp_path, name, write):
    write(STATE, tmp_path / name)
    assert load_sam("sam_nano", tmp_path / name)


def test_a_model_in_several_files_is_read_by_its_index(tmp_path):
    names, index = sorted(STATE), tmp_path / "model.safetensors.index.json"
    where = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(where.values()):
        save_file({n: STATE[n] for n in names if where[n] == file}, tmp_path / file)
    index.write_text(json.dumps({"weight_map": where}))
    assert load_sam("sam_nano", index)
    for given in (tmp_path, tmp_path / where[names[0]]):
        with pytest.raises(UserError, match="index.json|misses 115 tensor"):
            load_sam("sam_nano", given)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("image_encoder.stages.0.weight", "EdgeSAM"),
        ("mask_decoder.final_output_upscaling_layers.0.weight", "EfficientSAM"),
        ("image_encoder.blocks.0.Adapter.channel.0.weight", "SAM-Med2D"),
    ],
)
def test_other_kinds_of_sam_are_named(tmp_path, name, told):
    with pytest.raises(UserError, match=told):
        to_official({"image_encoder.pos_embed": torch.ones(1), name: torch.ones(1)}, tmp_path)


@pytest.mark.parametrize("kind", [torch.int8, torch.int64])
def test_weights_in_whole_numbers_are_refused(tmp_path, kind):
    with pytest.raises(UserError, match="whole numbers"):
        to_official({name: t.to(kind) for name, t in STATE.items()}, tmp_path)


@pytest.mark.parametrize(("name", "content"), [
    ("scores.csv", b"name,grade\nme,1\n"), ("worst.png", b"\x89PNG\r\n\x1a\nmine"),
])  # fmt: skip
def test_evaluate_replaces_nothing_that_it_did_not_write(tmp_path, name, content):
    data, out = image_folder(tmp_path / "data"), tmp_path / "out"
    file = adapter_file(tmp_path / "a.safetensors")
    words = ["evaluate", data, file, "--split", "val", "--out", out]
    for _ in range(2):
        call(*words)
    (out / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}.*evaluate did not write"):
        call(*words)
    assert (out / name).read_bytes() == content


NUMBERS = {"steps": ("3", 2.5, True), "batch": ("2", 2.5), "lr": ("x", float("nan"), -1.0),
           "seed": ("a", -1), "workers": (-1, "a"), "genotype_images": (-1, 1.5)}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_a_training_are_checked_before_it(name):
    data = Dataset("d", ("object",), *[[Sample(picture(), square(1), "s")]] * 3)
    for value in NUMBERS[name]:
        with pytest.raises(UserError, match=f"{name.split('_')[-1]}="):
            fit(adapt(build_nano(), DecoderOnly()), data, **{name: value})


@pytest.mark.parametrize("how", [
    {"classes": 0}, {"classes": "2"}, {"classes": 300}, {"seed": -1}, {"resize": "x"},
    {"tile_objects": 5},
])  # fmt: skip
def test_settings_of_a_model_are_checked(how):
    with pytest.raises(UserError, match=f"{next(iter(how))}( is |=)"):
        adapt(build_nano(), DecoderOnly(), **how)


@pytest.mark.parametrize("prompt", [
    {"box": [1, 2, 3]}, {"box": "1 2 3 4"}, {"box": [1, 2, 3, None]}, {"click": [3]},
    {"click": [1, 2, 3, 4]}, {"box": []},
])  # fmt: skip
def test_a_prompt_of_another_shape_is_refused(prompt):
    with pytest.raises(UserError, match=r"(box|click) is .*; expected [42] numbers"):
        predict_image(adapt(build_nano(), DecoderOnly()), picture(), **prompt)


@pytest.mark.parametrize("samples", [Path("images"), Sample(picture(), square(1), "s"), []])
def test_what_is_no_list_of_samples_cannot_be_scored(samples):
    with pytest.raises(UserError, match="is no sequence|is empty"):
        evaluate(adapt(build_nano(), DecoderOnly()), samples)


@pytest.mark.parametrize("model", [None, build_nano()])
def test_what_draws_no_masks_is_named(model):
    with pytest.raises(UserError, match="does not draw masks"):
        evaluate(model, [Sample(picture(), square(1), "s")], classes=1)


@pytest.mark.parametrize("mask", [square(1)[:-1], square(1)[..., None]])
def test_masks_of_another_shape_are_not_scored(mask):
    with pytest.raises(UserError, match="A mask for s has shape"):
        score_masks([mask], [Sample(picture(), square(1), "s")])
