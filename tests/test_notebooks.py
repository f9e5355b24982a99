"""Every lesson has the anatomy that CONTRIBUTING promises, and is what its script says."""

import ast
import base64
import json
import re
import subprocess
import sys

import jupytext
import pytest
from lessons import LESSONS, NAMES, badges, code, exercises, markdown, plain, read, sources

from naslora_workbook.lessons import headline
from naslora_workbook.publishing.lesson import NOTEBOOKS, SETUP_CELL, imports_alone
from naslora_workbook.publishing.refresh import METADATA, tidy
from naslora_workbook.publishing.tables import expected
from naslora_workbook.results.records import measured

HERE = re.compile(r"(?<![\w.:/-])/(?:home|root|Users|tmp|private|work|opt|usr|var|mnt)/\w")
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)


def test_numbers_are_the_sequences():
    assert [lesson.number for lesson in LESSONS] == list(range(14))


def test_every_script_has_its_notebook_and_the_other_way_round():
    texts = sorted(p.stem for p in (NOTEBOOKS / "text").glob("[0-9][0-9]_*.py"))
    assert texts == NAMES


def test_generated_tables_are_up_to_date():
    """`make tables` would change nothing."""
    stale = [str(path) for path, content in expected().items() if path.read_text() != content]
    assert stale == []


def test_lessons_import_nothing_but_what_their_extra_brings():
    """On Binder and Colab `naslora-core[lessons]` is installed, and no more is certain."""
    others = "papermill nbformat nbconvert jupytext nbval myst_nb psutil jupyterlab pytest"
    others += " onnx onnxscript onnxruntime pycocotools hypothesis peft torchmetrics playwright"
    nodes = [node for x in LESSONS for node in ast.parse(x.text.read_text()).body]
    lines = {ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)}
    blocked = f"import sys\nsys.modules |= dict.fromkeys({others.split()!r})\n"
    run = [sys.executable, "-c", blocked + "\n".join(sorted(lines))]
    assert subprocess.run(run, capture_output=True, text=True).stderr == ""


@each_lesson
def test_pair_agrees(lesson):
    """Same cells, sources and tags; `make notebooks` mends it."""
    assert sources(jupytext.read(lesson.text)) == sources(read(lesson))


@each_lesson
def test_every_code_cell_was_executed_in_order(lesson):
    counts = [c.execution_count for c in code(read(lesson))]
    assert counts == list(range(1, len(counts) + 1))


@each_lesson
def test_outputs_hold_no_errors_and_no_warnings(lesson):
    for cell in code(read(lesson)):
        kinds = {o.output_type for o in cell.outputs} | {o.get("name") for o in cell.outputs}
        assert not kinds & {"error", "stderr"}, cell.source


@each_lesson
def test_nothing_of_a_machine_or_a_tool_is_left(lesson):
    """Kernelspec python3, no widget state, no papermill, bare pictures, no absolute path."""
    notebook = read(lesson)
    assert notebook.metadata == METADATA
    text = lesson.path.read_text()
    assert "papermill" not in json.dumps([c.metadata for c in notebook.cells])
    assert "widget-view" not in text
    assert not HERE.search(text), HERE.search(text)
    assert tidy(read(lesson)) == notebook


@each_lesson
def test_size(lesson):
    """A notebook of at most 1 MB, a picture of at most 100 KB."""
    assert lesson.path.stat().st_size <= 1_000_000
    for cell in code(read(lesson)):
        for output in cell.outputs:
            png = output.get("data", {}).get("image/png", "")
            assert len(base64.b64decode(png)) <= 100_000, cell.source


@each_lesson
def test_opening(lesson):
    """Number, verb and object; a promise; badges at the tag; the measured cost."""
    opening = lesson.opening
    assert re.match(rf"# {lesson.number:02d} · \w+ .+", opening)
    assert lesson.promise
    assert badges(lesson.name) in opening
    assert re.search(r"^\*\*Cost\*\* .+", opening, flags=re.MULTILINE)


@each_lesson
def test_objectives_setup_imports_and_parameters_come_first(lesson):
    notebook = read(lesson)
    second = notebook.cells[1].source
    for phrase in ("**You will build**", "**You will be able to**", "|"):
        assert phrase in second
    first, imports, parameters = code(notebook)[:3]
    assert first.source == SETUP_CELL
    assert re.match(r"(import|from) ", imports.source)
    assert parameters.metadata.get("tags") == ["parameters"]
    assert re.match(r'PROFILE = "\w+"\nSEED = \d+', parameters.source)
    assert len(parameters.source.splitlines()) <= 6


@each_lesson
def test_cells_fit_the_page(lesson):
    """At most 20 lines (imports may be more) of at most 100 columns, as ruff holds them."""
    for cell in code(read(lesson)):
        lines = cell.source.splitlines()
        assert len(lines) <= 20 or imports_alone(cell.source), cell.source
        assert max(map(len, lines)) <= 100, cell.source


@each_lesson
def test_pictures_have_words(lesson):
    notebook = read(lesson)
    prose = "\n".join(c.source for c in markdown(notebook))
    assert "![](" not in prose
    assert all("alt=" in tag for tag in re.findall(r"<img [^>]*>", prose))
    for cell in code(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert output.metadata.get("image/png", {}).get("alt"), cell.source


@each_lesson
def test_ending(lesson):
    """A recap, and the way on: before, index, after."""
    notebook = read(lesson)
    assert any(re.search(r"^## Recap|\*\*Recap\*\*", c.source, re.M) for c in markdown(notebook))
    last = notebook.cells[-1].source
    assert "](README.md)" in last
    near = [x for x in LESSONS if abs(x.number - lesson.number) == 1]
    assert [x.name for x in near if f"]({x.path.name})" not in last] == []


@each_lesson
def test_relative_links_lead_somewhere(lesson):
    prose = "\n".join(c.source for c in markdown(read(lesson)))
    targets = re.findall(r"\]\((?!https?:|#|mailto:|attachment:)([^)#\s]+)", prose)
    assert [t for t in targets if not (NOTEBOOKS / t).exists()] == []


@each_lesson
def test_every_exercise_is_complete_and_open(lesson):
    """Header of four lines, stub, check and solution; unanswered in what is committed."""
    notebook = read(lesson)
    for exercise in exercises(notebook):
        for word in ("Difficulty", "importance", "minutes"):
            assert word.lower() in exercise.text.lower(), exercise.number
        assert exercise.stubs and exercise.checks, f"Exercise {exercise.number}: stub and check"
        assert exercise.solution, f"Exercise {exercise.number} has no solution fold"
        said = plain(notebook.cells[exercise.checks[0]])
        assert f"Exercise {exercise.number}: not attempted yet" in said
    stubs = [c for c in code(notebook) if "raise NotImplementedError(" in c.source]
    known = {i for e in exercises(notebook) for i in e.stubs}
    assert len(stubs) == len(known), "a stub stands outside every exercise"


def test_recorded_costs_are_within_the_budget():
    """No lesson above 90 s or 2 GB, nor all above 600 s, where the costs were recorded."""
    costs = measured("measurements/workbook")["lessons"]
    assert sorted(costs) == NAMES
    for name, cost in costs.items():
        assert cost["seconds"] <= 90, name
        assert cost["peak_mb"] <= 2000, name
    assert sum(cost["seconds"] for cost in costs.values()) <= 600


@each_lesson
def test_headline_numbers_are_left_to_their_own_test(lesson):
    """nbval would compare them digit by digit; test_notebooks_run.py does with a tolerance."""
    for cell in code(read(lesson)):
        if any(headline.MIME in o.get("data", {}) for o in cell.outputs):
            assert "nbval-ignore-output" in cell.metadata.get("tags", []), cell.source
