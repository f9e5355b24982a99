"""The runner on tiny lessons: one that works, one that fails, one that takes data, one killed."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from bs4 import BeautifulSoup
from lessons import resources
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from naslora_core.errors import UserError
from naslora_workbook.lessons import headline
from naslora_workbook.publishing import workbook
from naslora_workbook.publishing.environment import ROOT
from naslora_workbook.publishing.refresh import METADATA
from naslora_workbook.publishing.workbook import stopping_point

HEADLINE = "from naslora_workbook.lessons import headline\nheadline.record(dice=0.81234, steps=80)"
MATHS = r"Inline $\Delta W = BA$ and $$\hat{O} = \sum_i \operatorname{softmax}(\alpha)_i O_i$$"
FIGURE = {"data": [{"y": [1, 2]}], "layout": {}, "frames": []}
DRAW = f"""\
from IPython.display import display
display({{"application/vnd.plotly.v1+json": {FIGURE}, "text/plain": "figure"}}, raw=True)"""


def write(folder, name, title, *sources, parameters='PROFILE = "smoke"'):
    """A lesson with a title cell, a parameters cell and the given code cells."""
    top = new_markdown_cell(
        f"# {name[:2]} · {title}\n\n> Promise of {title}.\n\n"
        f"[![badge](https://example.org/b.svg)](https://example.org) "
        f"[next](01_fail.ipynb) [later](09_later.ipynb#end) [code](../setup.py) "
        f"[all](README.md)\n\n{MATHS}"
    )
    settings = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    fold = new_markdown_cell("## Section\n\n<details><summary>Hint</summary>\n\n`x`\n\n</details>")
    notebook = new_notebook(cells=[top, settings, fold, *map(new_code_cell, sources)])
    notebook.metadata.update(METADATA)
    nbformat.write(notebook, folder / f"{name}.ipynb")


def soup_of(page):
    return BeautifulSoup(page.read_text(), "html.parser")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Three lessons after one run: exit status, what was printed, where they are."""
    folder = tmp_path_factory.mktemp("ran")
    notebooks, out = folder / "notebooks", folder / "out"
    notebooks.mkdir()
    write(notebooks, "00_work", "Work", HEADLINE, DRAW, "PROFILE")
    write(notebooks, "01_fail", "Fail", "x = 1", "\n# first\ny = undefined", "never = 1")
    write(notebooks, "02_data", "Data", "DATA", parameters='PROFILE = "smoke"\nDATA = ""')
    capture = pytest.MonkeyPatch()
    lines = []
    capture.setattr("builtins.print", lambda *a, **k: lines.append(" ".join(map(str, a))))
    status = workbook.run_workbook(None, {"PROFILE": "laptop"}, notebooks, out)
    capture.undo()
    return status, "\n".join(lines), notebooks, out


def test_a_failing_lesson_is_named_and_the_others_run(ran):
    status, said, _, out = ran
    assert status == 1
    assert "01_fail: FAILED in cell [3] `# first`: NameError: name 'undefined'" in said
    done = nbformat.read(out / "02_data.ipynb", 4)
    assert all(c.execution_count for c in done.cells if c.cell_type == "code")


def test_the_closing_table_has_cost_and_headline(ran):
    table = ran[1].split("\n\n")[-2]
    row = next(line for line in table.splitlines() if line.startswith("| 00_work"))
    seconds, peak, said = (cell.strip() for cell in row.split("|")[2:5])
    assert 0 < int(seconds) < 600
    assert 20 < int(peak) < 2000
    assert said == "dice 0.8123, steps 80"


def test_parameters_reach_the_lesson(ran):
    executed = nbformat.read(ran[3] / "00_work.ipynb", 4)
    assert executed.cells[-1].outputs[0].data["text/plain"] == "'laptop'"
    assert headline.read(executed) == {"dice": 0.8123, "steps": 80}


def test_the_lessons_themselves_are_untouched(ran):
    committed = nbformat.read(ran[2] / "00_work.ipynb", 4)
    assert "papermill" not in committed.metadata
    assert not any(c.get("outputs") for c in committed.cells)


PAGES = ("00_work", "01_fail", "02_data", "index", "glossary", "teaching", "results")


def test_pages_need_no_network(ran):
    book = ran[3] / "book"
    assert {p.name: resources(p) for p in book.glob("*.html")} == {
        p.name: [] for p in book.glob("*.html")
    }
    assert all((book / f"{name}.html").exists() for name in PAGES)


def test_every_link_and_script_beside_the_pages_is_there(ran):
    for page in (ran[3] / "book").glob("*.html"):
        soup = soup_of(page)
        near = [t.get("href") or t.get("src") for t in soup.select("a[href], script[src]")]
        near = [n.partition("#")[0].partition("?")[0] for n in near if ":" not in n]
        assert [n for n in near if n and not (page.parent / n).exists()] == []
    later = "a[href$='/notebooks/09_later.ipynb#end']"  # never built: on the web
    assert len(soup_of(ran[3] / "book" / "00_work.html").select(later)) == 1


def test_a_page_shows_formulas_plots_and_folds(ran):
    soup = soup_of(ran[3] / "book" / "00_work.html")
    assert len(soup.select("main .math")) == 2
    assert soup.select_one('script[src*="plotly.min.js"]')
    assert "Plotly.newPlot" in str(soup)
    assert soup.select_one("details").code.text == "x"
    assert not soup.select('main img[src^="http"]')


def test_the_index_has_a_card_a_lesson_and_says_what_failed(ran):
    cards = soup_of(ran[3] / "book" / "index.html").select(".sd-card")
    titles = [card.select_one(".sd-card-title").text.strip() for card in cards]
    assert titles == ["00 · Work", "01 · Fail", "02 · Data"]
    assert "NameError" in cards[1].text and "minutes" in cards[0].text


def test_data_selects_the_lessons_that_take_it(ran, tmp_path, monkeypatch):
    chosen = []
    monkeypatch.setattr(
        workbook,
        "run_lesson",
        lambda lesson, given, out: (
            chosen.append(lesson.name) or workbook.Outcome(lesson.name, 1, 1)
        ),
    )
    workbook.run_workbook(None, {"DATA": str(tmp_path)}, ran[2], tmp_path / "out")
    assert chosen == ["02_data"]


@pytest.mark.parametrize(
    ("number", "given", "message"),
    [
        (0, {"DATA": "x"}, "00_work has no parameter DATA; it has: PROFILE"),
        (None, {"STEPS": 1}, "00_work has no parameter STEPS"),
        (7, {}, "no lesson 07; choose one of 00, 01, 02"),
    ],
)
def test_wrong_requests_are_refused_before_anything_runs(ran, tmp_path, number, given, message):
    with pytest.raises(UserError, match=message):
        workbook.run_workbook(number, given, ran[2], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_line_says_what_is_wrong_with_its_words(tmp_path):
    with pytest.raises(UserError, match="no folder nowhere"):
        workbook.given_parameters("nowhere", None, [])
    with pytest.raises(UserError, match="lacks a value"):
        workbook.given_parameters(None, None, ["STEPS"])
    with pytest.raises(UserError, match="no profile 'big'; choose one of smoke, laptop, gpu"):
        workbook.given_parameters(None, "big", [])
    given = workbook.given_parameters(str(tmp_path), "smoke", ["STEPS=20", "LR=1e-3", "NAME=x"])
    assert given == {
        "PROFILE": "smoke",
        "DATA": str(tmp_path),
        "STEPS": 20,
        "LR": 1e-3,
        "NAME": "x",
    }


def test_a_folder_without_lessons_is_told(tmp_path):
    with pytest.raises(UserError, match="no lesson in"):
        workbook.run_workbook(None, {}, tmp_path, tmp_path / "out")


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_kill_leaves_the_last_good_result_and_the_next_start_cleans(tmp_path):
    out = tmp_path / "out"
    wait = "import pathlib, time\nwhile pathlib.Path('hold').exists(): time.sleep(0.1)"
    write(tmp_path, "00_wait", "Wait", wait)
    code = (
        "import sys; from pathlib import Path;"
        "from naslora_workbook.publishing.workbook import run_workbook;"
        f"sys.exit(run_workbook(None, {{}}, Path({str(tmp_path)!r}), Path({str(out)!r})))"
    )
    start = [sys.executable, "-c", code]
    subprocess.run(start, cwd=ROOT, check=True, capture_output=True)
    before = (out / "00_wait.ipynb").read_bytes()
    (tmp_path / "hold").touch()
    running = subprocess.Popen(start, cwd=ROOT, stderr=subprocess.DEVNULL)
    half = out / ".tmp" / "00_wait.ipynb"
    deadline = time.monotonic() + 120
    while not (half.exists() and b'"status": "running"' in half.read_bytes()):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert (out / "00_wait.ipynb").read_bytes() == before
    (tmp_path / "hold").unlink()
    subprocess.run(start, cwd=ROOT, check=True, capture_output=True)
    assert not (out / ".tmp").exists()
    assert (out / "00_wait.ipynb").read_bytes() != before


def test_costs_are_recorded_of_all_lessons_as_they_stand(tmp_path):
    for number, given in ((3, {}), (None, {"PROFILE": "gpu"})):
        with pytest.raises(UserError, match="--record measures all lessons as they stand"):
            workbook.run_workbook(number, given, tmp_path, tmp_path / "out", record=True)


def test_a_dead_kernel_is_told_apart_from_a_failing_cell():
    done, dead, later = new_code_cell("a", execution_count=1), *map(new_code_cell, "bc")
    assert stopping_point(new_notebook(cells=[done, dead, later])).startswith(
        "cell [2] `b`: its pro"
    )
