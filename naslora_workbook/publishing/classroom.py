"""Working copies of the lessons: learners write there, and `notebooks/` stays as it is."""

import datetime
from pathlib import Path

import nbformat

from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_workbook.publishing.environment import ROOT
from naslora_workbook.publishing.lesson import Lesson, chosen_lessons

COPIES = ROOT / "my_notebooks"


def hand_out(number: int | None = None, folder: Path = COPIES) -> list[Path]:
    """Write every lesson (or one) with its outputs cleared; what is there already is kept."""
    folder.mkdir(exist_ok=True)
    written = []
    for lesson in chosen_lessons(number):
        if (folder / lesson.path.name).exists():
            print(f"kept     {lesson.path.name}  (make reset LESSON={lesson.number:02d} renews it)")
        else:
            written.append(_copy(lesson, folder))
    return written


def reset(number: int | None, folder: Path = COPIES) -> Path:
    """Put one lesson's copy back to its beginning; the old one moves to `backup/` with its time.

    Raises UserError without a number: nobody loses all answers by a word too few.
    """
    if number is None:
        raise UserError("Say which lesson to reset: make reset LESSON=05.")
    (lesson,) = chosen_lessons(number)
    old = folder / lesson.path.name
    if old.exists():
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        kept = folder / "backup" / f"{lesson.name}-{now}.ipynb"
        kept.parent.mkdir(exist_ok=True)
        old.rename(kept)
        print(f"backed up {kept.relative_to(folder.parent)}")
    folder.mkdir(exist_ok=True)
    return _copy(lesson, folder)


def _copy(lesson: Lesson, folder: Path) -> Path:
    notebook = nbformat.read(lesson.path, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    path = folder / lesson.path.name
    write_atomic(path, nbformat.writes(notebook) + "\n")
    print(f"wrote    {path.relative_to(folder.parent)}")
    return path
