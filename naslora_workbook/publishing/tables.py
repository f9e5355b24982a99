"""Parts of files that are generated: tables of results, the table of lessons, the learning path.

In a page the lines between `<!-- NAME -->` and `<!-- /NAME -->` are replaced by the table of that
name; in a lesson's text the line that begins with `**Cost**` and the minutes of what it needs; in
the teachers' guide the minutes. `make tables` writes all of them.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_workbook.publishing import registered_tables as registered
from naslora_workbook.publishing import result_tables as results
from naslora_workbook.publishing.environment import ROOT
from naslora_workbook.publishing.lesson import Lesson, in_guide, lessons, of_needed
from naslora_workbook.research.preregistration import FIRST
from naslora_workbook.results.labels import markdown
from naslora_workbook.results.records import measured

TABLES: dict[str, Callable[[], str]] = {
    "figure": results.figure,
    "findings": registered.findings,
    "base": results.base_table,
    "registered": registered.registered_table,
    "first_registered": partial(registered.registered_table, FIRST),
    "costs": results.cost_table,
    "development": results.development_table,
    "photographs": results.photograph_table,
    "gpu": results.gpu_table,
}
PAGES = {  # and where their lessons lie
    "README.md": "notebooks/",
    "notebooks/README.md": "",
    "naslora_workbook/results/README.md": "",
}
FIRST = re.compile(r"lesson 00 takes \d+ s · [\d.]+ GB")  # what README says of it
PARTS = (  # of the learning path: name, first number of a lesson in it
    ("a frozen model", 0),
    ("low rank and space", 4),
    ("who chooses?", 7),
    ("is it worth it?", 11),
    ("your turn", 13),
)


def write_tables(root: Path = ROOT) -> int:
    """Bring pages and the texts' numbers up to date; `notebooks` then takes these over."""
    for path, content in expected(root).items():
        if path.read_text() != content:
            write_atomic(path, content)
            print(f"wrote {path.relative_to(root)}")
    return 0


def expected(root: Path = ROOT) -> dict[Path, str]:
    """What every file with a generated part should contain."""
    known, files = lessons(root / "notebooks"), {}
    tables = {name: cache(make) for name, make in TABLES.items()}  # some stand on two pages
    tables["path"] = partial(path_diagram, known)
    for name, prefix in PAGES.items():
        own = tables | {"lessons": partial(lesson_table, known, prefix)}
        text = fill((root / name).read_text(), own, root / name)
        files[root / name] = FIRST.sub(f"lesson 00 takes {_cost(known[0].name)}", text)
    guide = root / "notebooks" / "TEACHING.md"
    files[guide] = in_guide(guide.read_text(), known)
    for lesson in known:
        text, cost = lesson.text.read_text(), re.compile(r"^# \*\*Cost\*\*.*$", re.MULTILINE)
        if line := cost_line(lesson.name):
            text = cost.sub(f"# {line}", text)
        files[lesson.text] = of_needed(text, known)
    return files


def fill(text: str, tables: Mapping[str, Callable[[], str]], path: Path) -> str:
    """`text` of the file `path` with every table whose marks it has; UserError for other marks."""
    for name in re.findall(r"^<!-- (\w+) -->$", text, flags=re.MULTILINE):
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = text.partition(start)
        if name not in tables or end not in rest:
            raise UserError(
                f"{path} has the mark {start}; expected {end} after it and one of the names "
                f"{', '.join(tables)}; correct the marks."
            )
        text = f"{before}{start}\n{tables[name]()}\n{end}{rest.partition(end)[2]}"
    return text


def lesson_table(known: list[Lesson], prefix: str = "") -> str:
    """A row for every lesson: number, title as a link, promise, measured cost."""
    rows = []
    for lesson in known:
        title = f"[{lesson.title}]({prefix}{lesson.path.name})"
        rows.append([f"{lesson.number:02d}", title, lesson.promise, _cost(lesson.name) or "-"])
    return markdown(("", "lesson", "you get", "cost"), rows).replace("|  |", "| |", 1)


def cost_line(name: str) -> str:
    """`**Cost** ...` for the top of a lesson; empty where nothing was recorded."""
    device = measured("measurements/workbook")["provenance"]["device"]
    cost = _cost(name)
    return cost and f"**Cost** {cost}, profile `smoke`, measured on {device}"


def _cost(name: str) -> str:
    """Seconds and memory of a lesson, as they were recorded."""
    cost = measured("measurements/workbook")["lessons"].get(name)
    return f"{cost['seconds']:.0f} s · {cost['peak_mb'] / 1000:.1f} GB" if cost else ""


def path_diagram(known: list[Lesson]) -> str:
    """The learning path in Mermaid: a box a lesson, an arrow from what a lesson needs."""
    lines = ["```mermaid", "flowchart TD"]
    for (name, first), (_, after) in zip(PARTS, [*PARTS[1:], ("", 100)], strict=True):
        mine = [x for x in known if first <= x.number < after]
        boxes = [f'    L{x.number:02d}["{x.number:02d} {x.title}"]' for x in mine]
        lines += [f'  subgraph P{first}["{name}"]', *boxes, "  end"] if mine else []
    numbers = {x.number for x in known}
    pairs = ((a, x.number) for x in known for a in needs(x.opening) if a in numbers)
    return "\n".join([*lines, *(f"  L{a:02d} --> L{b:02d}" for a, b in pairs), "```"])


def needs(opening: str) -> list[int]:
    """Numbers of the lessons that the line `Needs ...` of a first cell links to."""
    line = re.search(r"^Needs (.*)$", opening, flags=re.MULTILINE)
    return [int(n) for n in re.findall(r"\]\((\d\d)_", line[1])] if line else []
