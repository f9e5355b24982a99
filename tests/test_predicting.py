"""`predict` by the shell: it replaces its own masks alone, and draws over images."""

import sys
import tracemalloc

import numpy as np
import pytest
from own import adapter_file, call, image_folder, picture
from PIL import Image

from naslora_core.cli.predict_command import overlaid
from naslora_core.errors import UserError
from naslora_workbook.figures.masks import show_masks, tint


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("mine") / "data", 3)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return adapter_file(tmp_path_factory.mktemp("adapter") / "a.safetensors")


def test_masks_drawn_by_hand_are_not_replaced(images, adapter, tmp_path):
    before = {p: p.read_bytes() for p in (images / "masks").iterdir()}
    with pytest.raises(
        UserError, match=r"masks holds 3 picture.s. \(square0.png.*not write.*--out"
    ):
        call("predict", adapter, images / "images", "--out", images / "masks")
    assert before == {p: p.read_bytes() for p in (images / "masks").iterdir()}
    (tmp_path / "square1_overlay.png").write_bytes(b"no picture")
    call("predict", adapter, images / "images", "--out", tmp_path)  # draws no overlay
    with pytest.raises(UserError, match=r"1 picture.s. \(square1_overlay.png\)"):
        call("predict", adapter, images / "images", "--out", tmp_path, "--overlay")


def test_predicts_own_masks_are_replaced_until_a_hand_corrects_them(images, adapter, tmp_path):
    words = "predict", adapter, images / "images", "--out", tmp_path, "--overlay"
    call(*words)
    first = {p: p.read_bytes() for p in tmp_path.iterdir()}
    call(*words)
    assert first == {p: p.read_bytes() for p in tmp_path.iterdir()}
    Image.fromarray(255 - picture(tmp_path / "square2.png")).save(tmp_path / "square2.png")
    with pytest.raises(UserError, match=r"1 picture.s. \(square2.png\) that predict did not write"):
        call(*words)


def test_an_overlay_without_matplotlib_is_refused_before_the_first_mask(
    images, adapter, tmp_path, monkeypatch
):
    for name in [
        n for n in sys.modules if n.startswith(("matplotlib", "naslora_workbook.figures"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"matplotlib draws.*python -m pip install matplotlib\."):
        call("predict", adapter, images / "images", "--out", out, "--overlay")
    assert not out.exists()


@pytest.mark.parametrize("classes", [0, 1, 3, 200])
def test_an_overlay_mixes_image_and_colour_in_little_memory(classes):
    rng = np.random.default_rng(classes)
    image = rng.integers(0, 256, (300, 400, 3), np.uint8)
    mask = rng.integers(0, classes + 1, (300, 400)).astype(np.uint8)
    colour = tint(mask)
    share = colour[..., 3:]
    mixed = (image * (1 - share) + 255 * colour[..., :3] * share).round().astype(np.uint8)
    tracemalloc.start()
    found = overlaid(image, mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, mixed) and peak < 15 * mask.size


def test_no_image_is_no_grid():
    with pytest.raises(UserError, match="There is no image to draw"):
        show_masks([], [])
