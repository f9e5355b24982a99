"""What tests read from a lesson: its cells, its exercises, their solutions, its page's sources."""

import re
from dataclasses import dataclass

import nbformat
from bs4 import BeautifulSoup

from naslora_workbook.publishing.lesson import REF, SLUG, Lesson, lessons

LESSONS = lessons()
NAMES = [lesson.name for lesson in LESSONS]
SOLUTION = re.compile(
    r"<details>\s*<summary>Solution.*?```python\n(.*?)```.*?</details>", re.DOTALL
)

HEADING = re.compile(r"^#{2,3} \w", re.MULTILINE)
EXERCISE = re.compile(r"^### Exercise (\d+\.\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Exercise:
    """An exercise with the places of its cells in the notebook; solution: code or None."""

    number: str
    text: str
    stubs: list[int]
    checks: list[int]
    solution: str | None


def read(lesson: Lesson):
    """The committed notebook of a lesson."""
    return nbformat.read(lesson.path, 4)


def code(notebook) -> list:
    """Its code cells that are not blank."""
    return [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]


def markdown(notebook) -> list:
    """Its markdown cells."""
    return [c for c in notebook.cells if c.cell_type == "markdown"]


def plain(cell) -> str:
    """The text outputs of a code cell."""
    texts = [o.get("data", {}).get("text/plain", o.get("text", "")) for o in cell.outputs]
    return "\n".join(texts)


def exercises(notebook) -> list[Exercise]:
    """Everything from a heading `### Exercise N.M` to the next cell with a heading."""
    cells = list(enumerate(notebook.cells))
    heads = [i for i, c in cells if c.cell_type == "markdown" and HEADING.search(c.source)]
    found = []
    for start, end in zip(heads, [*heads[1:], len(cells)], strict=True):
        match = EXERCISE.search(notebook.cells[start].source)
        if match:
            found.append(_exercise(match[1], cells[start:end]))
    return found


def resources(page) -> list[str]:
    """Everything that a browser would fetch from a network to show this page."""
    soup = BeautifulSoup(page.read_text(), "html.parser")
    places = [(t, a) for t in soup.find_all() for a in ("src", "data", "poster") if t.get(a)]
    found = [t[a] for t, a in places] + [t["href"] for t in soup.select("link[href]")]
    scripts = [t.text for t in soup.select('script[type="module"]')]
    styles = [t.text for t in soup.find_all("style") if "@import" in t.text or "url(http" in t.text]
    return [f for f in found if "//" in f and not f.startswith("data:")] + scripts + styles


def _exercise(number: str, section: list) -> Exercise:
    call = f"checks.ex_{number.replace('.', '_')}("
    prose = "\n\n".join(c.source for _, c in section if c.cell_type == "markdown")
    programs = [(i, c.source) for i, c in section if c.cell_type == "code"]
    solutions = SOLUTION.findall(prose)
    return Exercise(
        number,
        prose,
        [i for i, source in programs if f'NotImplementedError("Exercise {number}' in source],
        [i for i, source in programs if call in source],
        "\n\n".join(solutions) or None,
    )


def sources(notebook) -> list[tuple[str, str, list[str]]]:
    """What a pair must agree on: type, source and tags of every cell."""
    return [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in notebook.cells]


def badges(name: str) -> str:
    """The line of Colab and Binder badges of lesson `name`."""
    colab = f"https://colab.research.google.com/github/{SLUG}/blob/{REF}/notebooks"
    binder = f"https://mybinder.org/v2/gh/{SLUG}/{REF}?urlpath=lab/tree/notebooks"
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    return (
        f"[![Open in Colab]({badge})]({colab}/{name}.ipynb)\n"
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder}/{name}.ipynb)"
    )
