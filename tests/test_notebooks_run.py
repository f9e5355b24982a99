"""Every lesson runs once, by papermill in the smoke profile; nbval compares what it printed.

The exercises are checked twice in that run: as stubs where they stand, and solved behind the last
cell. sanitize.cfg says what may vary between outputs.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from lessons import LESSONS, NAMES, exercises, plain, read
from nbformat.v4 import new_code_cell

from naslora_workbook.lessons import headline
from naslora_workbook.publishing.lesson import Lesson
from naslora_workbook.publishing.workbook import prepare_kernels, run_lesson

HERE = Path(__file__).parent
COSTS = ("seconds", "minutes", "ms", "mb")


@pytest.fixture(scope="module", params=LESSONS, ids=NAMES)
def ran(request, tmp_path_factory):
    """A lesson, and the path of its executed copy, the solved exercises at its end."""
    lesson, folder = request.param, tmp_path_factory.mktemp("ran")
    (folder / "out" / ".tmp").mkdir(parents=True)
    notebook = read(lesson)
    for exercise in exercises(notebook):
        stub, check = (notebook.cells[places[-1]] for places in (exercise.stubs, exercise.checks))
        solved = f"{stub.source}\n\n\n{exercise.solution}", check.source
        notebook.cells += map(new_code_cell, solved)
    nbformat.write(notebook, folder / lesson.path.name)
    prepare_kernels("panel")
    run_lesson(Lesson(folder / lesson.path.name), {}, folder / "out")
    return lesson, folder / "out" / lesson.path.name


def test_runs_to_its_end_within_two_gigabytes(ran):
    cost = nbformat.read(ran[1], 4).metadata["naslora"]
    assert not cost["failure"]
    assert cost["peak_mb"] < 2000


def test_every_solution_passes_its_check(ran):
    found = exercises(read(ran[0]))
    solved = nbformat.read(ran[1], 4).cells[-2 * len(found) :]
    for exercise, checked in zip(found, solved[1::2], strict=True):
        assert f"Exercise {exercise.number}: right" in plain(checked)


def test_headline_numbers_are_those_of_the_committed_notebook(ran):
    """Costs aside: what was measured now is close to what the page says."""
    now, said = headline.read(nbformat.read(ran[1], 4)), headline.read(read(ran[0]))
    assert now.keys() == said.keys()
    for name in said:
        if not name.endswith(COSTS):
            # a number as small as the slack would pass whatever it is
            slack = 0.05 if abs(said[name]) > 0.1 else 0.5 * abs(said[name]) + 0.01
            assert now[name] == pytest.approx(said[name], rel=0.15, abs=slack), name


def compare(lesson, *plugin: str, **variables: str) -> None:
    """Every output of a lesson but the pictures, beside the committed one, by nbval."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    here = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    static = {"NASLORA_STATIC": "panel", "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": here}
    words = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=600", "-q", "--no-header"]
    rules = ["--nbval-sanitize-with", str(HERE / "sanitize.cfg"), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugin, *words, *rules, str(lesson.path)]
    env = inherited | static | variables
    done = subprocess.run(
        command, cwd=HERE.parent, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_outputs_are_reproduced(ran):
    compare(ran[0], "-p", "replayed", NASLORA_EXECUTED=str(ran[1]))


def test_an_output_that_differs_is_seen(tmp_path):
    """Of a copy in which the check of an exercise says another thing."""
    lesson = LESSONS[8]
    notebook = read(lesson)
    check = notebook.cells[exercises(notebook)[0].checks[0]]
    check.outputs[0].data["text/plain"] = "something else"
    nbformat.write(notebook, tmp_path / "other.ipynb")
    with pytest.raises(AssertionError, match="something else"):
        compare(lesson, "-p", "replayed", NASLORA_EXECUTED=str(tmp_path / "other.ipynb"))


@pytest.mark.weekly
@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_outputs_are_reproduced_on_an_older_processor(lesson):
    """Executed by nbval itself."""
    compare(lesson, ATEN_CPU_CAPABILITY="default", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
