"""All lessons run in the smoke profile with every exercise solved."""

import nbformat
import pytest
from lessons import LESSONS, NAMES, exercises, plain, read

from naslora_workbook.lessons import headline
from naslora_workbook.publishing.workbook import run_workbook

COSTS = ("seconds", "minutes", "ms", "mb")
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of executed lessons, their solutions put in below the stubs."""
    folder = tmp_path_factory.mktemp("solved")
    notebooks, out = folder / "notebooks", folder / "out"
    notebooks.mkdir()
    for lesson in LESSONS:
        notebook = read(lesson)
        for exercise in exercises(notebook):
            notebook.cells[exercise.stubs[-1]].source += f"\n\n\n{exercise.solution}"
        nbformat.write(notebook, notebooks / lesson.path.name)
    run_workbook(None, {"PROFILE": "smoke"}, notebooks, out)
    return out


@each_lesson
def test_runs_to_its_end_within_two_gigabytes(lesson, ran):
    cost = nbformat.read(ran / lesson.path.name, 4).metadata["naslora"]
    assert not cost["failure"]
    assert cost["peak_mb"] < 2000


@each_lesson
def test_every_solution_passes_its_check(lesson, ran):
    notebook = nbformat.read(ran / lesson.path.name, 4)
    for exercise in exercises(notebook):
        said = plain(notebook.cells[exercise.checks[0]])
        assert f"Exercise {exercise.number}: right" in said


@each_lesson
def test_headline_numbers_are_those_of_the_committed_notebook(lesson, ran):
    """Costs aside: what was measured now is close to what the page says."""
    now = headline.read(nbformat.read(ran / lesson.path.name, 4))
    said = headline.read(read(lesson))
    assert now.keys() == said.keys()
    for name in said:
        if not name.endswith(COSTS):
            # a number as small as the slack would pass whatever it is
            slack = 0.05 if abs(said[name]) > 0.1 else 0.5 * abs(said[name]) + 0.01
            assert now[name] == pytest.approx(said[name], rel=0.15, abs=slack), name
