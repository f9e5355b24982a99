"""Lessons as people meet them: run in JupyterLab, and read offline, both in a real Chromium."""

import nbformat
import pytest
from browsing import SHOTS, browser, jupyterlab, run_all
from lessons import LESSONS, NAMES

from naslora_workbook.publishing.book import publish
from naslora_workbook.publishing.classroom import hand_out

ERRORS = '.jp-OutputArea-output[data-mime-type*="error"]'


@pytest.fixture(scope="module")
def chrome():
    SHOTS.mkdir(parents=True, exist_ok=True)
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    for number in (0, 8):
        hand_out(number, home / "mine")
    with jupyterlab(home / "mine", home) as address:
        yield address


@pytest.fixture
def page(chrome):
    context = chrome.new_context(viewport={"width": 1280, "height": 1400})
    yield context.new_page()
    context.close()


def opened(page, lab, name: str):
    page.goto(lab.format(name))
    run_all(page, timeout=600)
    errors = page.locator(ERRORS).all_inner_texts()
    page.screenshot(path=str(SHOTS / f"lab_{name}.png"))
    assert errors == []
    return page


def moved(page, picture: str, move) -> None:
    """The picture is another one after `move`."""
    before = page.locator(picture).first.get_attribute("src")
    move()
    page.wait_for_function(
        "([where, before]) => document.querySelector(where).src !== before",
        arg=[picture, before],
        timeout=30_000,
    )


def test_start_here_answers_clicks(page, lab):
    opened(page, lab, "00_start_here")
    box = page.locator(".naslora-click").first
    box.scroll_into_view_if_needed()
    picture = ".naslora-click img"
    moved(page, picture, lambda: page.locator(picture).first.click(position={"x": 90, "y": 90}))
    moved(page, picture, lambda: box.get_by_role("button", name="undo").press("Enter"))
    page.screenshot(path=str(SHOTS / "lab_00_clicked.png"))


def test_the_known_answer_slider_moves_by_keyboard(page, lab):
    opened(page, lab, "08_search_with_a_known_answer")
    slider = page.locator(".jupyter-widgets .noUi-handle").first
    slider.scroll_into_view_if_needed()
    moved(page, ".jupyter-widgets img", lambda: slider.press("ArrowRight"))
    page.screenshot(path=str(SHOTS / "lab_08_moved.png"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The committed lessons as offline pages."""
    out = tmp_path_factory.mktemp("pages")
    for lesson in LESSONS:
        nbformat.write(nbformat.read(lesson.path, 4), out / lesson.path.name)
    return publish(out, LESSONS).parent


@pytest.mark.parametrize("name", NAMES)
def test_an_offline_page_misses_nothing(page, pages, name):
    asked, said = [], []
    page.context.set_offline(True)
    page.on("request", lambda r: r.url.startswith(("file:", "data:")) or asked.append(r.url))
    page.on("console", lambda m: m.type == "error" and said.append(m.text))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.goto((pages / f"{name}.html").as_uri())
    broken = page.evaluate(
        "() => [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    )
    overflow = page.evaluate("() => document.body.scrollWidth - window.innerWidth")
    raw = page.locator("main, body").first.inner_text().count("$$")
    page.screenshot(path=str(SHOTS / f"page_{name}.png"))
    assert (asked, said, broken, raw) == ([], [], 0, 0) and overflow < 20


def test_the_index_leads_to_every_page(page, pages):
    page.goto((pages / "index.html").as_uri())
    targets = page.eval_on_selector_all("a[href]", "links => links.map(a => a.href)")
    page.screenshot(path=str(SHOTS / "page_index.png"))
    assert all(any(t.endswith(f"{n}.html") for t in targets) for n in NAMES)
