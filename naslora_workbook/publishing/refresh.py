"""Make notebooks/NN_*.ipynb from notebooks/text/NN_*.py: executed, with outputs, nothing else.

A lesson is executed where its code or tags changed (or when asked for by number); changed prose
takes over the outputs that are there.
"""

import hashlib
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_workbook.publishing.lesson import NOTEBOOKS, Lesson
from naslora_workbook.publishing.workbook import KERNEL, QUIET, prepare_kernels, stopping_point

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
    "language_info": {"name": "python"},
}
WIDGET = "application/vnd.jupyter.widget-view+json"


def refresh(number: int | None = None, notebooks: Path = NOTEBOOKS) -> int:
    """Bring all lessons up to date, or execute one; 0 if no cell failed, else 1."""
    texts = sorted((notebooks / "text").glob("[0-9][0-9]_*.py"))
    chosen = [Lesson(notebooks / f"{t.stem}.ipynb") for t in texts]
    chosen = [x for x in chosen if number in (None, x.number)]
    if not chosen:
        which = "" if number is None else f" {number:02d}"
        raise UserError(f"There is no text of a lesson{which} to run.")
    prepare_kernels("panel")
    return max([_refresh(lesson, anew=number is not None) for lesson in chosen])


def _refresh(lesson: Lesson, anew: bool) -> int:
    fresh = jupytext.read(lesson.text)
    old = nbformat.read(lesson.path, 4) if lesson.path.exists() else nbformat.v4.new_notebook()
    if anew or not _take_over(old, fresh):
        print(f"{lesson.name}: executing {len(fresh.cells)} cells", file=sys.stderr, flush=True)
        try:
            how = {"kernel_name": KERNEL, "extra_arguments": QUIET, "coalesce_streams": True}
            where = {"metadata": {"path": str(lesson.path.parent)}}
            NotebookClient(fresh, resources=where, **how).execute()
        except (CellExecutionError, DeadKernelError):
            print(f"{lesson.name}: FAILED in {stopping_point(fresh)}", file=sys.stderr)
            return 1
    text = nbformat.writes(tidy(fresh)) + "\n"
    if not lesson.path.exists() or lesson.path.read_text() != text:
        write_atomic(lesson.path, text)
    return 0


def _take_over(old, fresh) -> bool:
    """Give `fresh` the outputs of `old` if both have the same executed code; else False."""
    before, now = (
        [cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in (old, fresh)
    )
    known, wanted = (
        [(cell.source, cell.metadata.get("tags", [])) for cell in cells] for cells in (before, now)
    )
    if known != wanted or any(cell.execution_count is None for cell in before):
        return False
    for cell, past in zip(now, before, strict=True):
        cell.outputs, cell.execution_count = past.outputs, past.execution_count
    return True


def tidy(notebook):
    """Keep sources, tags and outputs; ids become a function of the source."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat_minor = 5
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        seen[cell.source] = seen.get(cell.source, 0) + 1
        cell.id = hashlib.sha256(f"{seen[cell.source]}{cell.source}".encode()).hexdigest()[:8]
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
    return notebook
