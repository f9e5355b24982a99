"""A lesson keeps the budget that its reader was promised, or says why it does not."""

import pytest
from lessons import LESSONS, NAMES
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, writes

from naslora_workbook.publishing.lesson import Lesson
from naslora_workbook.publishing.style import REASONS, measure, style_table


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_a_lesson_is_within_the_budget_or_has_its_reason(lesson):
    """And a reason goes when the lesson no longer needs it."""
    outside, number = measure(lesson).outside, f"{lesson.number:02d}"
    assert bool(outside) == (number in REASONS), f"{outside}: see REASONS in house/style.py"


@pytest.fixture
def made(tmp_path):
    """A lesson of two cells, a figure, an exercise and eight words outside of a fold."""
    picture = new_output("display_data", {"image/png": "", "text/plain": "<Picture>"})
    prose = "### Exercise 5.1 - three words\n\n<details>\n\nnot counted\n\n</details>"
    cells = [
        new_markdown_cell(prose),
        new_code_cell("a\nb\nc", outputs=[picture]),
        new_code_cell("d"),
        new_code_cell(""),
        new_markdown_cell("and some"),
    ]
    (tmp_path / "05_made.ipynb").write_text(writes(new_notebook(cells=cells)))
    return Lesson(tmp_path / "05_made.ipynb")


def test_what_is_counted(made):
    found = measure(made).found
    assert (found["code cells"], found["median"], found["longest"]) == (2, 2, 3)
    assert (found["words"], found["figures"], found["exercises"]) == (8, 1, 1)
    assert measure(made).outside == ["code cells", "words", "exercises"]


def test_the_table_marks_what_leaves_the_budget_and_gives_the_reason(made):
    table = style_table(made.path.parent)
    assert "| [05_made](05_made.py) | **2** | 2 | 3 | **8** | 1 | **1** | 0 |" in table
    assert f"- 05: {REASONS['05']}" in table
