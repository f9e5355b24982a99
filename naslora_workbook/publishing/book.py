"""The executed lessons as a book that opens without a network: Sphinx, myst-nb, the book theme.

A page is made from a copy of the executed notebook; `notebooks/` itself is never changed.
"""

import copy
import importlib.resources
import json
import shutil
from pathlib import Path

import nbformat
import yaml

from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_workbook.publishing import book_pages as pages
from naslora_workbook.publishing.environment import ROOT
from naslora_workbook.publishing.lesson import Lesson, imports_alone

PLOTLY = "application/vnd.plotly.v1+json"
UNSHOWN = ("application/vnd.jupyter.widget-view+json", "application/vnd.naslora.headline+json")
HERE = Path(__file__).parent  # of the settings and the style


def publish(out: Path, lessons: list[Lesson]) -> Path:
    """Build `out/book` from the executed lessons in `out`; the path of its index.html."""
    source, book = out / ".book", out / "book"
    shutil.rmtree(source, ignore_errors=True)
    (source / "_static").mkdir(parents=True)
    notebooks = {
        x: nbformat.read(out / x.path.name, 4) for x in lessons if (out / x.path.name).exists()
    }
    _write_pages(notebooks, source)
    script = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    write_atomic(source / "_static" / "plotly.min.js", script.read_bytes())
    shutil.copy(HERE / "book.css", source / "_static")
    _build(source, book)
    for folder in (source, out / "jupyter_execute"):  # ours, and what myst-nb leaves
        shutil.rmtree(folder, ignore_errors=True)
    return book / "index.html"


def _write_pages(notebooks: dict, source: Path) -> None:
    """Every lesson, every guide that is there, and the index, as Sphinx reads them."""
    built = {lesson.name for lesson in notebooks}
    glossary = (ROOT / pages.GUIDES["glossary.md"]).read_text()
    for lesson, notebook in notebooks.items():
        page = page_of(notebook, built, pages.glossary_terms(glossary))
        nbformat.write(page, source / lesson.path.name)
    for name, path in pages.GUIDES.items():
        if (ROOT / path).exists():
            text = (ROOT / path).read_text()
            text = pages.glossary_page(text) if name == "glossary.md" else text
            write_atomic(source / name, pages.local_links(text, built))
    write_atomic(source / "index.md", pages.index_page(notebooks, source))


def _build(source: Path, book: Path) -> None:
    """Run Sphinx; UserError where it stops. What it warns of is printed."""
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError

    settings = yaml.safe_load((HERE / "book.yml").read_text())
    settings["html_static_path"] = [str(source / "_static")]
    shutil.rmtree(book, ignore_errors=True)
    try:
        doctrees = source / ".doctrees"
        Sphinx(source, None, book, doctrees, "html", settings, status=None).build()
    except SphinxError as error:
        raise UserError(
            f"The book in {book} was not built: {error}; expected pages that Sphinx can read. The "
            "executed lessons are kept."
        ) from error


def page_of(notebook, built: set[str], terms: dict[str, str]):
    """A copy of an executed notebook as the book shows it: folded, linked, without widgets.

    terms: glossary terms by how they are written; each is linked where it first stands.
    """
    page = copy.deepcopy(notebook)
    page.metadata.pop("widgets", None)
    predicts = False  # whether the reader was asked to predict the results that come now
    for cell in page.cells:
        if cell.cell_type == "code":
            _code(cell, predicts)
            continue
        predicts = "**Predict first" in cell.source
        cell.source = pages.prose(cell.source, built, terms)
    return page


def _code(cell, predicts: bool) -> None:
    """Fold set-up, imports, and results that the reader was asked to predict."""
    tags = cell.metadata.setdefault("tags", [])
    if imports_alone(cell.source):
        tags.append("hide-cell")
    elif predicts and cell.outputs:
        tags.append("hide-output")
    for place, output in enumerate(cell.outputs):
        data = output.get("data", {})
        for kind in UNSHOWN:
            data.pop(kind, None)
        if PLOTLY in data:
            data["text/html"] = _plot(f"plot-{cell.id}-{place}", data.pop(PLOTLY))
            data.pop("image/png", None)
        if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
            cell.metadata["mystnb"] = {"image": {"alt": alt.replace("\n", " ")}}


def _plot(name: str, figure: dict) -> str:
    """The figure drawn by the book's own plotly, once the page has loaded it."""
    safe = json.dumps(figure).replace("</", "<\\/")
    draw = f'window.addEventListener("load", () => Plotly.newPlot("{name}", {safe}))'
    return f'<div id="{name}"></div><script>{draw}</script>'
