"""From a folder to masks by the shell's commands, and what they refuse."""

import csv
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from own import call, image_folder
from PIL import Image

from naslora_core.adapters.checkpoint import open_model
from naslora_core.cli import build_parser, drawing
from naslora_core.data import Sample
from naslora_core.errors import UserError
from naslora_core.training.prediction import predict, predict_image
from naslora_workbook.lessons import domains  # noqa: F401  (registers the drawn domains)
from naslora_workbook.research.methods import METHODS

ALONE = os.environ | {"OMP_NUM_THREADS": "1"}
FAST = ["--steps", "3", "--batch", "2", "--validate-every", "2", "--quiet"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("mine") / "data")


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "one"
    call("fit", images, "--method", "nas_lora", "--set", "rank=2", *FAST, "--out", out)
    return out


def test_fit_leaves_adapters_log_and_genotype(trained):
    found = {p.name for p in trained.iterdir()}
    assert {"best.safetensors", "last.safetensors", "events.jsonl", "genotype.json"} <= found
    assert {"learning.png", "worst.png"} <= found
    model = open_model(trained / "best.safetensors")
    assert model.method.rank == 2 and not model.training
    assert json.loads((trained / "genotype.json").read_text())["seed"] == 0


def test_a_training_is_drawn_over_its_steps():
    history = [{"step": n, "loss": 10.0 - n} for n in range(1, 10)]
    picture = np.asarray(drawing.learning(history, {"loss": "loss", "val_dice": "Dice"}))
    line = (picture == drawing.COLOURS[0]).all(-1)
    loss, dice = line[:, : drawing.WIDE], line[:, drawing.WIDE :]
    columns = np.flatnonzero(loss.any(0))
    first, last = (loss[:, x].argmax() for x in (columns[0], columns[-1]))
    assert first < last and not dice.any()  # the loss falls; no Dice was computed
    assert columns[-1] - columns[0] > drawing.WIDE / 2


def test_fit_leaves_a_picture_that_it_did_not_draw(images, tmp_path):
    mine = tmp_path / "run" / "learning.png"
    mine.parent.mkdir()
    Image.new("RGB", (4, 4)).save(mine)
    kept = mine.read_bytes()
    with pytest.raises(UserError, match="learning.png"):
        call("fit", images, *FAST, "--out", mine.parent)
    assert mine.read_bytes() == kept and [*mine.parent.iterdir()] == [mine]


def test_evaluate_prints_means_and_keeps_a_row_an_image(images, trained, tmp_path, capsys):
    words = ["evaluate", images, trained / "last.safetensors", "--split", "val"]
    call(*words, "--metrics", "mae", "--out", tmp_path / "scores")
    said = capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "scores" / "scores.csv").open()))
    mean = np.mean([float(r["dice"]) for r in rows])
    assert f"{mean:.3f}  mean of images" in said and "worst: square" in said
    assert rows[0].keys() == {"image", "dice", "iou", "mae"}
    with Image.open(tmp_path / "scores" / "worst.png") as picture:
        assert picture.width >= 256
    call("evaluate", images, "sam_nano", "--split", "val")
    assert "over all pixels" in capsys.readouterr().out


def test_predict_writes_native_masks_of_what_the_model_sees(images, trained, tmp_path):
    file, out = trained / "last.safetensors", tmp_path / "masks"
    call("predict", file, images / "images", "--out", out, "--overlay")
    names = {p.stem for p in (images / "images").iterdir()}
    assert {p.stem for p in out.iterdir()} == names | {f"{n}_overlay" for n in names}
    image = np.asarray(Image.open(images / "images" / "square3.png"))
    wanted = predict(open_model(file), [Sample(image, np.zeros((64, 96), np.uint8), "x")])[0]
    mask = np.asarray(Image.open(out / "square3.png"))
    assert mask.shape == (64, 96) and np.array_equal(mask, wanted * 255)
    over = np.asarray(Image.open(out / "square3_overlay.png"))
    assert np.array_equal(over[wanted == 0], image[wanted == 0])


def test_prompts_are_pixels_of_the_image(images, trained):
    model = open_model(trained / "last.safetensors")
    image = np.asarray(Image.open(images / "images" / "square3.png"))
    sample, seen = Sample(image, np.zeros((64, 96), np.uint8), "x"), []
    run = type(model).forward

    def listen(self, images, points=None, boxes=None, multimask=False):
        seen.append((points, boxes))
        return run(self, images, points, boxes, multimask)

    type(model).forward = listen
    try:
        predict_image(model, sample.image, box=[0, 0, 96, 64])
        predict_image(model, sample.image, click=[48, 16])
    finally:
        type(model).forward = run
    assert torch.equal(seen[0][1], torch.tensor([[0.0, 0, 128, 128]])) and seen[0][0] is None
    assert torch.equal(seen[1][0][0], torch.tensor([[[64.0, 32]]]))
    for prompt in ({"box": [0, 0, 97, 64]}, {"click": [10, 70]}, {"click": [-1, 0]}):
        with pytest.raises(UserError, match="outside of an image 96 wide and 64 high"):
            predict_image(model, sample.image, **prompt)
    with pytest.raises(UserError, match=r"The click \[nan, 3\] lies outside"):
        predict_image(model, sample.image, click=[float("nan"), 3])
    for box in ([50, 10, 10, 50], [10, 50, 50, 10], [10, 10, 10, 50]):
        with pytest.raises(UserError, match=r"The box \[[\d, ]+\] holds no pixel; expected left"):
            predict_image(model, sample.image, box=box)


def test_the_help_names_every_method_and_the_device_is_spelled_as_elsewhere():
    from naslora_core.cli.method_settings import ABOUT, told

    lines = told().splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(METHODS) and set(ABOUT) <= set(METHODS)
    arguments = build_parser().parse_args(["fit", "my_images", "--device", "cuda"])
    assert (arguments.accelerator, arguments.devices) == ("cuda", 1)


def test_the_next_command_is_told_as_a_shell_reads_it(images, tmp_path, capsys):
    groups, out = r"^(square\d)", tmp_path / "a run"
    words = ["--method", "lora", "--steps", "1", "--batch", "2", "--validate-every", "0", "--quiet"]
    call("fit", images, *words, "--groups", groups, "--out", out)
    told = capsys.readouterr().out.split("Next: naslora ")[1]
    wanted = ["evaluate", str(images), str(out / "last.safetensors"), "--groups", groups]
    assert shlex.split(told) == wanted


@pytest.mark.parametrize("words, told", [
    ("--validate-every 0 --patience 3", "--validate-every 0"),
    ("--method lora --cache x --steps 1", "LoRA trains in the image encoder"),
])  # fmt: skip
def test_options_that_would_do_nothing_are_refused(words, told):
    with pytest.raises(UserError, match=told):
        call("fit", "polyp", *words.split())


def test_a_file_in_the_place_of_a_folder_is_told_before_anything_is_computed(
    images, trained, tmp_path
):
    (tmp_path / "file").touch()
    file, out = trained / "last.safetensors", ("--out", tmp_path / "file")
    for words in (
        ("fit", images, *FAST),
        ("evaluate", images, file),
        ("predict", file, images / "images"),
        ("compare", images, "--methods", "lora"),
        ("fetch", "vit_b"),
    ):
        with pytest.raises(UserError, match="file cannot be made a folder"):
            call(*words, *out)


def test_an_export_does_not_take_the_place_of_what_it_is_made_of(trained, tmp_path):
    file = shutil.copy(trained / "last.safetensors", tmp_path / "a.safetensors")
    before = Path(file).read_bytes()
    with pytest.raises(UserError, match="is the file to export, and would be lost; name another"):
        call("export", file, tmp_path / ".." / tmp_path.name / "a.safetensors")
    assert Path(file).read_bytes() == before


def test_images_that_would_be_lost_are_refused(images, trained, tmp_path):
    file, folder = trained / "last.safetensors", images / "images"
    before = {p: p.read_bytes() for p in images.rglob("*.png")}
    with pytest.raises(UserError, match="holds the images themselves"):
        call("predict", file, folder, "--out", folder)
    with pytest.raises(UserError, match="square0.*two folders"):
        call("predict", file, folder, images / "masks", "--out", tmp_path / "x")
    for name in ("a", "a_overlay"):
        shutil.copy(folder / "square0.png", tmp_path / f"{name}.png")
    with pytest.raises(UserError, match="a_overlay would be written twice"):
        call("predict", file, tmp_path, "--overlay", "--out", tmp_path / "x")
    with pytest.raises(UserError, match="no folder with pictures"):
        call("predict", file, images, "--out", tmp_path / "x")
    with pytest.raises(UserError, match="There is no file"):
        call("predict", tmp_path / "none.safetensors", folder, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    assert before == {p: p.read_bytes() for p in images.rglob("*.png")}


@pytest.mark.gpu
def test_on_a_gpu_scores_and_masks_are_those_of_the_processor(images, trained, tmp_path):
    file, masks, scores = trained / "best.safetensors", {}, {}
    for device in ("cpu", "cuda"):
        out, where = tmp_path / device, ("--device", device)
        call("evaluate", images, file, *where, "--out", out)
        for name, prompt in {"none": (), "click": ("--click", 48, 32)}.items():
            call("predict", file, images / "images", *prompt, *where, "--out", out / name)
        same = ("--methods", "lora", "--seeds", 0, "--steps", 2, "--out", out / "compare")
        call("compare", images, *same, *where)
        pictures = sorted(out.rglob("square*.png"))
        masks[device] = np.stack([np.asarray(Image.open(p)) for p in pictures])
        rows = [line.split(",") for line in (out / "scores.csv").read_text().splitlines()[1:]]
        runs = [json.loads(p.read_text()) for p in sorted((out / "compare").glob("*.json"))]
        found = [float(row[1]) for row in rows] + [run["mean"]["dice"] for run in runs]
        scores[device] = np.array(found)
    assert (masks["cpu"] != masks["cuda"]).mean() < 0.01
    assert len(scores["cpu"]) > 2 and np.allclose(scores["cpu"], scores["cuda"], atol=0.02)
