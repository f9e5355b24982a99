"""Executed lessons as HTML pages that need no network: formulas, plots and pictures included."""

import copy
import importlib.resources
import json
import re
from collections.abc import Collection
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from jinja2 import Environment, FileSystemLoader, pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_workbook.figures.ledger import PLOTLY
from naslora_workbook.publishing.folding import fold_results, sections
from naslora_workbook.publishing.lesson import SLUG, TAG, Lesson
from naslora_workbook.publishing.refresh import WIDGET

HERE = Path(__file__).parent
TEMPLATES = [str(HERE / "templates"), str(HERE.parent / "figures" / "templates")]


def publish(out: Path, lessons: list[Lesson]) -> Path:
    """Write a page for every lesson that `out` holds executed, and index.html; its path."""
    built = [x for x in lessons if (out / x.path.name).exists()]
    notebooks = [nbformat.read(out / x.path.name, 4) for x in built]
    order, pages, names = [None, *built, None], [], {x.name for x in built}
    for i, (lesson, notebook) in enumerate(zip(built, notebooks, strict=True)):
        pages.append(page(lesson, notebook, order[i], order[i + 2], names))
        write_atomic(out / f"{lesson.name}.html", pages[i])
    (out / "assets").mkdir(exist_ok=True)
    if not (out / "assets" / "plotly.min.js").exists():
        script = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
        write_atomic(out / "assets" / "plotly.min.js", script.read_bytes())
    write_atomic(out / "index.html", index(built, notebooks, pages))
    return out / "index.html"


def page(
    lesson: Lesson,
    notebook,
    before: Lesson | None,
    after: Lesson | None,
    built: Collection[str] = (),
) -> str:
    """The HTML of an executed lesson, with links to its neighbours; built: the names of all pages
    that lie beside it, others are linked on the web."""
    notebook = copy.deepcopy(notebook)
    plots = sum([_make_static(cell) for cell in notebook.cells])
    metadata = {"name": lesson.title, "path": str(lesson.path.parent)}
    house = {"before": before, "after": after, "plots": plots}
    html, _ = OfflineExporter().from_notebook_node(notebook, {"metadata": metadata, "house": house})
    soup = BeautifulSoup(html, "html.parser")
    _make_links_local(soup, built)
    fold_results(soup)
    return str(soup)


def index(lessons: list[Lesson], notebooks: list, pages: list[str]) -> str:
    """The list of built lessons with what each promises and cost, and a search of its sections."""
    entries = [
        {"lesson": x, "cost": n.metadata.get("naslora", {}), "sections": sections(html)}
        for x, n, html in zip(lessons, notebooks, pages, strict=True)
    ]
    templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    return templates.get_template("index.html.j2").render(entries=entries)


class MathRenderer(IPythonRenderer):
    """Markdown with LaTeX turned into MathML, which browsers render themselves."""

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def block_math(self, body: str) -> str:
        return mathml(body, display="block")

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", display="block")

    def _html_embed_images(self, html: str) -> str:
        """Leave HTML without images as it is: parsing would close a `<details>` that goes on."""
        return super()._html_embed_images(html) if "<img" in html else html


class OfflineExporter(HTMLExporter):
    """nbconvert's page without anything from a network."""

    def __init__(self):
        super().__init__(
            config=Config(OfflineExporter={"template_name": "offline", "embed_images": True}),
            extra_template_basedirs=TEMPLATES,
            extra_template_paths=TEMPLATES,
        )

    def default_filters(self):
        yield from super().default_filters()
        yield "mathml", lambda text: mathml(text.strip().strip("$"), display="block")

    @pass_context
    def markdown2html(self, context, source):
        """As nbconvert's own, with our renderer."""
        path = context["resources"]["metadata"]["path"]
        renderer = MathRenderer(escape=False, embed_images=True, path=path)
        return MarkdownWithMath(renderer=renderer).render(source)


def mathml(latex: str, display: str = "inline") -> str:
    """One formula; UserError for a command that the converter does not know."""
    found = convert(latex.strip(), display=display)
    unknown = re.search(r"\\[A-Za-z]+", re.sub(r"<annotation.*?</annotation>", "", found))
    if unknown:
        raise UserError(
            f"The formula ${latex.strip()}$ uses {unknown[0]}, which pages cannot show."
        )
    return found


def _make_static(cell) -> int:
    """Plotly figures become scripts for the local plotly; widgets fall back to what else is there.

    Returns the number of plots.
    """
    plots = 0
    for place, output in enumerate(cell.get("outputs", [])):
        data = output.get("data", {})
        data.pop(WIDGET, None)
        if PLOTLY in data:
            data["text/html"] = _plot(f"plot-{cell.id}-{place}", data.pop(PLOTLY))
            plots += 1
    return plots


def _plot(name: str, figure: dict) -> str:
    safe = json.dumps(figure).replace("</", "<\\/")
    return f'<div id="{name}"></div><script>Plotly.newPlot("{name}", {safe})</script>'


def _make_links_local(soup: BeautifulSoup, built: Collection[str]) -> None:
    """Lessons link to pages that were built, else, as files of the repository, to the web; remote
    pictures to words."""
    for link in soup.select("a[href]"):
        target = link["href"]
        if target.startswith("../"):
            link["href"] = f"https://github.com/{SLUG}/blob/{TAG}/{target.removeprefix('../')}"
        elif target == "README.md":
            link["href"] = "index.html"
        elif lesson := re.fullmatch(r"(\d\d_\w+)\.ipynb(#.*)?", target):
            here = f"{lesson[1]}.html{lesson[2] or ''}"
            there = f"https://github.com/{SLUG}/blob/{TAG}/notebooks/{target}"
            link["href"] = here if lesson[1] in built else there
    for picture in soup.select('img[src^="http"]'):
        picture.replace_with(picture.get("alt", ""))
