"""Offline pages: results wait for a guess, headings are found, and a page is its own slides."""

from urllib.parse import unquote

import nbformat
import pytest
from browsing import SHOTS, browser
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from naslora_workbook.publishing.lesson import lessons
from naslora_workbook.publishing.pages import publish


def ran(source: str, text: str = ""):
    """A code cell with its text as an output."""
    said = [new_output("stream", text=text)] if text else []
    return new_code_cell(source, outputs=said, execution_count=1)


def lesson(number: int, title: str) -> list:
    """The cells of a lesson with two questions, the second in a section of its own."""
    return [
        new_markdown_cell(f"# {number:02d} · {title}\n\n> Promise."),
        ran("import math"),
        new_markdown_cell("## Weigh & see\n\n> **Predict first.** How much?"),
        ran("weight = 3"),
        ran("weight", "three"),
        new_markdown_cell("It is three."),
        new_markdown_cell(f"## What `{title}` costs\n\n> **Predict first.** More?"),
        new_markdown_cell("> **Predict first.** Or less?"),
        ran("1", "one"),
        new_markdown_cell("### Exercise 0.1 - add one"),
        ran("add", "not attempted yet"),
    ]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    out = tmp_path_factory.mktemp("pages")
    for number, title in enumerate(("Begin", "Go on")):
        cells = lesson(number, title)
        nbformat.write(new_notebook(cells=cells), out / f"{number:02d}_{title.split()[0]}.ipynb")
    return publish(out, lessons(out)).parent


@pytest.fixture
def opened(pages):
    """A page of Chromium, without a network."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    with browser() as chrome:
        context = chrome.new_context(viewport={"width": 1280, "height": 800})
        context.set_offline(True)
        yield context.new_page()


def test_results_wait_for_the_guess_up_to_the_next_heading_or_question(pages):
    soup = BeautifulSoup((pages / "00_Begin.html").read_text(), "html.parser")
    first, second = soup.select("details.result")
    assert "three" in first.text and "It is three." in first.text and not first.select("h2")
    assert "one" in second.text and "Exercise" not in second.text
    assert "How much?" not in first.text and "Or less?" not in second.text


def test_every_link_of_the_index_leads_to_a_heading(pages):
    soup = BeautifulSoup((pages / "index.html").read_text(), "html.parser")
    links = [(a.text, a["href"]) for a in soup.select("ul a")]
    exercise = "Exercise 0.1 - add one"
    begin, go = (["Weigh & see", f"What {x} costs", exercise] for x in ("Begin", "Go on"))
    assert [words for words, _ in links] == begin + go
    for _, link in links:
        name, _, anchor = link.partition("#")
        there = BeautifulSoup((pages / name).read_text(), "html.parser")
        assert there.find(id=unquote(anchor)), link


def test_a_search_leads_to_the_section(pages, opened):
    opened.goto((pages / "index.html").as_uri())
    opened.get_by_role("searchbox").fill("COSTS go")
    assert opened.locator("output").inner_text() == "1 found"
    assert opened.locator("ol > li:visible").count() == 1
    opened.get_by_role("link", name="What Go on costs").click()
    assert opened.url.endswith("01_Go.html#What-Go-on-costs")
    at = opened.locator("h2", has_text="costs").evaluate("h => h.getBoundingClientRect().top")
    end = opened.evaluate("innerHeight + scrollY >= document.body.scrollHeight - 2")
    assert 0 <= at < 60 or (at < 800 and end)


def test_an_empty_search_shows_everything_again(pages, opened):
    opened.goto((pages / "index.html").as_uri())
    field = opened.get_by_role("searchbox")
    field.fill("nowhere")
    assert opened.locator("ol > li:visible").count() == 0
    field.fill("")
    assert opened.locator("ol > li:visible").count() == 2
    assert opened.locator("output").inner_text() == ""


def test_a_page_is_its_slides(pages, opened):
    """Prose with its code, the result after the question; at the end the page as it was."""
    said = []
    opened.on("pageerror", lambda e: said.append(str(e)))
    opened.goto((pages / "00_Begin.html").as_uri())
    opened.keyboard.press("s")
    place, texts = opened.locator("#place"), []
    for i in range(8):
        assert place.inner_text() == f"{i + 1} / 8"
        texts.append(" ".join(opened.locator(".jp-Cell:visible").all_inner_texts()))
        opened.screenshot(path=str(SHOTS / f"slide_{i}.png")) if i == 2 else None
        opened.keyboard.press("ArrowRight")
    wanted = ["Promise.", "How much?", "three", "It is three.", "More?", "Or less?", "one", "add"]
    assert "import math" not in " ".join(texts) and "three" not in texts[1]
    assert all(word in text for word, text in zip(wanted, texts, strict=True)), texts
    opened.keyboard.press("Home")
    assert place.inner_text() == "1 / 8"
    opened.keyboard.press("Escape")
    assert not place.is_visible() and opened.locator("details.result[open]").count() == 0
    assert said == []
