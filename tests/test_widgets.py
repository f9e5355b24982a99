"""What moves, live and on offline pages, by mouse and keyboard; and a picture where nothing can."""

import importlib
import json

import nbformat
import numpy as np
import plotly.graph_objects as go
import pytest
import skimage.data
from browsing import SHOTS, browser
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from naslora_core import load_sam
from naslora_core.sam import SamPredictor
from naslora_workbook import figures
from naslora_workbook.figures.curves import PLOTLY
from naslora_workbook.publishing.book import publish
from naslora_workbook.publishing.lesson import lessons

PHOTO = skimage.data.coffee()[::4, ::4]
HISTORY = [
    {"step": s, "alpha": [[0.5 - s / 1000, 0.5 + s / 1000], [0.9, 0.1]]} for s in range(1, 101)
]


@pytest.fixture
def baked(monkeypatch, static):
    monkeypatch.setenv("NASLORA_STATIC", "frames")


@pytest.fixture(scope="module")
def predictor():
    made = SamPredictor(load_sam("sam_nano"))
    made.set_image(PHOTO)
    return made


def quarter(points, labels):
    """A mask that tells from which half of which axis the click came."""
    height, width = PHOTO.shape[:2]
    (x, y), mask = points[0], np.zeros((height, width), bool)
    mask[: height // 2 if y < height / 2 else None, : width // 2 if x < width / 2 else None] = True
    return mask


def draw(ax, value):
    ax.plot([0, value])


def test_few_values_stand_where_nothing_moves():
    assert figures.explore(draw, range(9), "slope", few=[1, 2]).alt == "slope: 1, 2"


def test_all_values_move_on_a_page(baked):
    assert figures.explore(draw, range(9), "slope", few=[1, 2])._repr_html_().count("<img") == 9


def test_a_token_moves_along_its_row(predictor, baked):
    moved = figures.attention(predictor, PHOTO, (3, 3))._repr_html_()
    assert moved.count("<img") == 8 and 'aria-label="token in row 3, column: 0, 2' in moved


def test_a_token_stands_where_nothing_moves(predictor):
    assert "stops at its window" in figures.attention(predictor, PHOTO, (3, 3)).alt


def test_a_token_moves_where_a_kernel_answers(predictor, monkeypatch):
    for name in ("tokens", "widgets"):
        module = importlib.import_module(f"naslora_workbook.figures.{name}")
        monkeypatch.setattr(module, "is_live", lambda: True)
    slider, picture = figures.attention(predictor, PHOTO, (3, 3)).children
    before, slider.index = picture.value, 0
    assert picture.value != before and "column: 0" in picture.value


def test_clicks_are_kept_as_a_grid(baked):
    page = figures.click(quarter, PHOTO, [(0.1, 0.9)])._repr_html_()
    grid, first, masks, shares = json.loads(page.split("parentElement, ")[1].split(")</script>")[0])
    assert grid == [9, 6] and len(masks) == 54 and first == [0, 5]
    assert {shares[0], shares[-1]} == {25, 100} and len(page) < 200_000


def test_a_search_is_a_surface_that_turns_and_a_picture():
    live = figures.landscape(HISTORY, ["conv", "skip"], ["first", "second"])
    assert "highest in second (0.90), lowest in first (0.60)" in live.alt
    figure = go.Figure(live._repr_mimebundle_()[PLOTLY])
    assert np.shape(figure.data[0].z) == (2, 60)
    labels = [button.label for button in figure.layout.updatemenus[0].buttons]
    assert labels == ["strongest", "conv", "skip"]


@pytest.fixture
def moving(baked, tmp_path):
    """A page with a slider, a photograph that answers clicks, and a surface."""
    shown = [figures.explore(draw, [1, 2, 3], "slope"), figures.click(quarter, PHOTO, [(0.2, 0.2)])]
    data = [{"text/html": each._repr_html_()} for each in shown]
    data.append({PLOTLY: figures.landscape(HISTORY, ["conv", "skip"], ["a", "b"]).plot})
    cells = [new_markdown_cell("# 00 · Made\n\n> Promise.")]
    for i, each in enumerate(data):
        output = new_output("display_data", each)
        cells.append(new_code_cell(f"cell_{i}", outputs=[output], execution_count=i))
    nbformat.write(new_notebook(cells=cells), tmp_path / "00_made.ipynb")
    return publish(tmp_path, lessons(tmp_path)).parent / "00_made.html"


def test_everything_moves_offline_by_keyboard(moving):
    SHOTS.mkdir(parents=True, exist_ok=True)
    with browser() as chrome:
        context = chrome.new_context()
        context.set_offline(True)
        shown, said = context.new_page(), []
        shown.on("pageerror", lambda e: said.append(str(e)))
        shown.goto(moving.as_uri())
        slider = shown.locator(".naslora-frames input")
        before = shown.locator(".naslora-frames img:visible").get_attribute("alt")
        slider.press("ArrowRight")
        after = shown.locator(".naslora-frames img:visible").get_attribute("alt")
        assert (before, after, slider.get_attribute("aria-valuetext")) == (
            "slope: 2",
            "slope: 3",
            "slope: 3",
        )
        clicks = shown.locator(".naslora-clicks")
        words = clicks.locator("xpath=following-sibling::p")
        assert words.inner_text() == "Mask of 25 % of the photograph."
        for _ in range(9):
            clicks.press("ArrowRight")
            clicks.press("ArrowDown")
        assert words.inner_text() == "Mask of 100 % of the photograph."
        clicks.click(position={"x": 5, "y": 5})
        assert words.inner_text() == "Mask of 25 % of the photograph."
        shown.wait_for_selector(".js-plotly-plot canvas, .js-plotly-plot .no-webgl", timeout=20_000)
        shown.screenshot(path=str(SHOTS / "page_moving.png"), full_page=True)
        assert said == []
