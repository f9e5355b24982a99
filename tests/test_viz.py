"""Figures: colours that stay apart, PNGs without metadata, alt texts, static under automation."""

import importlib
import io
from types import SimpleNamespace

import matplotlib as mpl
import nbformat
import numpy as np
import pytest
import skimage.color
import skimage.data
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from naslora_core.errors import UserError
from naslora_core.sam import SamPredictor, build_nano
from naslora_core.training.early_stopping import VALIDATION_DICE
from naslora_workbook import figures as figures
from naslora_workbook.figures import theme
from naslora_workbook.publishing.book import page_of

OPERATORS, BLOCKS = ["skip", "conv_1x1", "conv_3x3"], ["block 0", "block 1"]
PHOTO = skimage.data.coffee()
MASK = np.zeros((128, 128), bool)
MASK[30:80, 40:90] = True
VISION = {  # Machado et al. 2009, severity 1, on linear RGB
    "normal": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
TO_XYZ = skimage.color.rgb2xyz(np.eye(3)).T  # of linear RGB: the columns are the primaries


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    found = SamPredictor(build_nano().eval())
    found.set_image(PHOTO)
    return found


@pytest.fixture
def genotype():
    found = {
        "block 0": {"probability": [0.5, 0.3, 0.2], "argmax": "skip", "projection": "skip"},
        "block 1": {"probability": [0.2, 0.2, 0.6], "argmax": "conv_3x3", "projection": None},
    }
    return {"operators": OPERATORS, "blocks": [{"block": n} | b for n, b in found.items()]}


@pytest.fixture
def history():
    events = [{"step": s, "stage": "search", "moved": "alpha", "loss": 1 / s} for s in range(1, 31)]
    return [e | {"alpha": [[0.4, 0.3, 0.3], [0.1, 0.1, 0.8]]} for e in events]


def seen(colour: str, matrix) -> np.ndarray:
    """A colour in CIELAB as it is seen through a matrix on linear RGB."""
    linear = np.linalg.solve(TO_XYZ, skimage.color.rgb2xyz(np.array(to_rgb(colour))))
    return skimage.color.xyz2lab(TO_XYZ @ np.clip(np.array(matrix) @ linear, 0, 1))


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(
    "colours",
    [
        [*theme.ADAPTER.values(), theme.BASE],
        [theme.TRUTH, theme.PREDICTION, theme.PROMPT, theme.PROMPT_OUT],
        theme.OPERATORS,
        theme.CLASSES,
    ],
)
def test_colours_stay_apart(colours, vision):
    lab = [seen(c, VISION[vision]) for c in colours]
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(lab) for b in lab[:i]]
    assert min(gaps) > 10


def test_theme_is_idempotent_and_has_one_font_size():
    figures.use_theme()
    once = dict(mpl.rcParams)
    figures.use_theme()
    assert dict(mpl.rcParams) == once
    sizes = ("font.size", "axes.titlesize", "axes.labelsize", "legend.fontsize", "xtick.labelsize")
    assert {mpl.rcParams[name] for name in sizes} == {9}


def chunks(png: bytes) -> set[bytes]:
    found, at = set(), 8
    while at < len(png):
        found.add(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4], "big")
    return found


def test_pictures_are_small_plain_and_repeatable():
    four = ([PHOTO] * 4, [MASK] * 4, [MASK] * 4, [0.5] * 4)
    first, second = (figures.show_masks(*four, points=[([[9, 9]], [1])] * 4) for _ in range(2))
    assert first.png == second.png
    assert len(first.png) <= 100_000
    assert chunks(first.png) <= {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
    pixels = np.array(Image.open(io.BytesIO(first.png)).convert("RGB")).reshape(-1, 3)
    green = np.array(to_rgb(theme.PROMPT)) * 255
    assert np.abs(pixels - green).max(1).min() < 3  # the small star survives a palette
    assert (pixels[0] == 255).all()


def test_a_picture_is_seven_inches_at_twice_the_pixels():
    picture = figures.losses({"lora": [{"step": s, "loss": 1.0} for s in range(5)]})
    assert Image.open(io.BytesIO(picture.png)).width == 2 * picture.width == 1400


def test_alt_text_reaches_the_html():
    picture = figures.show_masks([PHOTO], [MASK], scores=[0.81], title='Dice "high" & dry')
    data, metadata = DisplayFormatter().format(picture)
    assert data["text/plain"] == "<Picture>"
    output = nbformat.v4.new_output("display_data", {"image/png": "aGk="}, metadata=metadata)
    cell = nbformat.v4.new_code_cell("picture", outputs=[output])
    (cell,) = page_of(nbformat.v4.new_notebook(cells=[cell]), set(), {}).cells
    assert (
        cell.metadata["mystnb"]["image"]["alt"] == 'Dice "high" & dry. Dice: 0.81.' == picture.alt
    )


def test_overlay_changes_none_of_its_inputs():
    image, mask = PHOTO.copy(), MASK.astype(int)
    figures.show_masks([image], [mask], [mask * 2], [1.0])
    assert (image == PHOTO).all() and (mask == MASK).all()


@pytest.mark.parametrize("mask", [MASK * 0, MASK * 0 + 1, MASK * 3])
def test_empty_full_and_other_classes_are_drawn(mask):
    assert figures.show_masks([PHOTO], [mask], [mask]).png


def test_a_contact_sheet_takes_samples():
    samples = [SimpleNamespace(image=PHOTO, mask=MASK)] * 2
    assert figures.contact_sheet(samples, "Two samples", columns=2).alt == "Two samples"


def test_genotype_figures_name_both_readings(genotype):
    alt = figures.operators(genotype).alt
    assert "agree in 1 of 2" in alt and "argmax conv_3x3 (0.60), projection none fits" in alt
    with pytest.raises(UserError, match="NASLoRA"):
        figures.operators(None)


def test_curves_say_how_the_runs_end(history):
    assert "between 0.40 and 0.80" in figures.alpha_trajectories(history, OPERATORS, BLOCKS).alt
    with pytest.raises(UserError, match="alpha"):
        figures.alpha_trajectories([{"step": 1, "loss": 1.0}], OPERATORS, BLOCKS)
    flat = [{"step": s, "loss": 1.0} for s in range(20)]
    assert "between 1.00 and 1.00" in figures.losses({"lora": flat, "nas_lora": flat}).alt


def test_choices_say_the_probabilities_of_every_block(genotype):
    kernels = {"block 0": torch.rand(2, 2, 3, 3), "block 1": torch.rand(2, 2, 5, 5)}
    said = figures.choices(genotype, kernels, "Block 1 chose").alt
    assert said.startswith("Block 1 chose.") and "argmax conv_3x3 (0.60)" in said


def test_sam_figures(predictor):
    assert "64 of 256" in figures.token_grid(predictor, PHOTO, (7, 7)).alt
    assert "two-way" in figures.three_parts(predictor.model).alt
    assert "3 masks" in figures.ambiguity(predictor, PHOTO, (300, 200)).alt
    assert "spread over" in figures.attention(predictor, PHOTO, (3, 12)).alt


@torch.no_grad()
def test_attention_weights_are_those_of_the_block(predictor):
    from naslora_workbook.figures.tokens import attention_map, attention_weights

    attn = predictor.model.image_encoder.blocks[0].attn
    attn.rel_pos_h.normal_()
    x = torch.randn(1, 8, 8, 160)
    v = attn.qkv(x).reshape(64, 3, attn.num_heads, -1)[:, 2].transpose(0, 1)
    by_hand = attn.proj((attention_weights(attn, x) @ v).transpose(0, 1).reshape(1, 8, 8, -1))
    assert torch.allclose(by_hand, attn(x), atol=1e-5)
    windowed = attention_map(predictor, PHOTO, 0, (3, 12))
    assert windowed.sum() == pytest.approx(1, abs=1e-5) == windowed[:8, 8:].sum()
    assert (attention_map(predictor, PHOTO, 2, (3, 12)) > 0).all()


def draw(ax, value):
    ax.plot([0, value])


def test_explore_is_static_unless_someone_is_there(monkeypatch):
    assert not figures.is_live()
    assert isinstance(figures.explore(draw, [1, 2], "slope"), figures.Picture)
    monkeypatch.setenv("NASLORA_STATIC", "frames")
    page = figures.explore(draw, [1, 2, 3], "slope")._repr_html_()
    assert page.count("<img") == 3 and page.count("hidden style") == 2
    assert "http" not in page and 'alt="slope: 2"' in page


def test_a_slider_redraws():
    widgets = importlib.import_module("naslora_workbook.figures.widgets")
    slider, picture = widgets._slider(draw, [1, 2, 3], "slope").children
    before, slider.index = picture.value, 2
    assert picture.value != before and "slope: 3" in picture.value


def test_clicks_are_answered_and_undone():
    asked, clicking = [], importlib.import_module("naslora_workbook.figures.click")
    box = clicking._clickable(lambda *prompt: asked.append(prompt) or MASK, PHOTO)
    picture, place, where, kind = box.children
    place.value = "0.5 0.25 1"  # what a mouse click writes: shares of width and height, the time
    where.children[-1].click()  # the button beside the sliders
    assert (asked[-1][0] == [[300, 100], [300, 100]]).all() and "2 clicks" in picture.value
    kind.children[-1].click()  # undo
    assert "1 click," in picture.value


def test_static_click_shows_three(predictor):
    assert figures.click(predictor, PHOTO).alt == "A click is enough to get a mask"


def test_live_plot_draws_once_under_automation(history):
    plot = figures.LivePlot()
    for event in history:
        plot(event | ({VALIDATION_DICE: 0.5} if event["step"] % 10 == 0 else {}))
    assert plot._handle is None
    assert "between 0.40 and 0.80" in plot.picture().alt
    ax = Figure().add_subplot()
    plot._validation(ax)
    assert [line.get_label() for line in ax.lines] == ["validation Dice"]


def test_a_kernel_knows_whether_someone_is_there():
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        code = "from naslora_workbook.figures import is_live; assert is_live() is {}"
        for allow in (True, False):
            reply = client.execute_interactive(code.format(allow), allow_stdin=allow, timeout=120)
            assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
