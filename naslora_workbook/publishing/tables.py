"""Tables that stand in files but are written by nobody: lessons and costs, from what was recorded.

In a README the lines between `<!-- lessons -->` and `<!-- /lessons -->` are replaced; in a lesson's
text the line that begins with `**Cost**`; in the teachers' guide each lesson's minutes; beside the
lessons' texts what each takes of a reader. The learning path is a picture that is wholly made here.
"""

import json
import re
from pathlib import Path

from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_workbook.publishing.costs import cost_table
from naslora_workbook.publishing.doors import doors
from naslora_workbook.publishing.environment import ROOT
from naslora_workbook.publishing.lesson import COSTS, NOTEBOOKS, Lesson, lessons
from naslora_workbook.publishing.minutes import minutes_line
from naslora_workbook.publishing.path_picture import learning_path
from naslora_workbook.publishing.reach import reach_table
from naslora_workbook.publishing.registered import domains_table, registered_table
from naslora_workbook.publishing.results import (
    base_table,
    development_table,
    hero,
    method_table,
    planted_table,
)
from naslora_workbook.publishing.scale import headline, scale_table
from naslora_workbook.publishing.style import style_table

FRONT = {"figure": hero, "doors": doors, "base": base_table}
FRONT |= {"registered": registered_table, "gpu": headline}
RESULTS = {"methods": method_table, "costs": cost_table}
RESULTS |= {"development": development_table, "reach": reach_table, "planted": planted_table}
RESULTS |= {"domains": domains_table, "scale": scale_table}


def write_tables(root: Path = ROOT) -> int:
    """Bring the READMEs and the texts' cost lines up to date; `notebooks` then takes these over."""
    for path, content in expected(root).items():
        if not path.exists() or path.read_text() != content:
            write_atomic(path, content)
            print(f"wrote {path.relative_to(root)}")
    return 0


def expected(root: Path = ROOT) -> dict[Path, str]:
    """What every file with a generated part should contain."""
    notebooks = root / "notebooks"
    found = {root / "README.md": "notebooks/", notebooks / "README.md": ""}
    files = {
        p: fill(p.read_text(), lesson_table(prefix, notebooks), p) for p, prefix in found.items()
    }
    _fill_all(files, root / "README.md", FRONT)
    _fill_all(files, root / "naslora_workbook" / "results" / "README.md", RESULTS)
    page = notebooks / "text" / "README.md"
    files[page] = fill(page.read_text(), style_table(notebooks), page, "style")
    guide = notebooks / "TEACHING.md"
    files[guide] = guide.read_text()
    for lesson in lessons(notebooks):
        name = f"minutes {lesson.number:02d}"
        files[guide] = fill(files[guide], minutes_line(lesson), guide, name)
        line = cost_line(lesson.name)
        text = lesson.text.read_text()
        if line:
            files[lesson.text] = re.sub(
                r"^# \*\*Cost\*\*.*$", f"# {line}", text, flags=re.MULTILINE
            )
    files[notebooks / "learning_path.svg"] = learning_path(lessons(notebooks))
    return files


def _fill_all(files: dict[Path, str], page: Path, tables: dict) -> None:
    for name, table in tables.items():
        files[page] = fill(files.get(page) or page.read_text(), table(), page, name)


def fill(text: str, table: str, path: Path, name: str = "lessons") -> str:
    """`text` of the file `path` with `table` between its two marks."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in text or end not in text:
        raise UserError(f"{path} lacks the marks {start} and {end}; put them back.")
    before, _, rest = text.partition(start)
    return f"{before}{start}\n{table}\n{end}{rest.partition(end)[2]}"


def lesson_table(prefix: str = "notebooks/", notebooks: Path = NOTEBOOKS) -> str:
    """A row for every lesson: number, title as a link, promise, measured cost."""
    head = "| | lesson | you get | cost |\n|---|---|---|---|"
    return "\n".join([head, *(_row(lesson, prefix) for lesson in lessons(notebooks))])


def cost_line(name: str, recorded: Path = COSTS) -> str:
    """`**Cost** ...` for the top of a lesson; empty where nothing was recorded."""
    cost = _recorded(recorded)["lessons"].get(name)
    if not cost:
        return ""
    device = _recorded(recorded)["provenance"]["device"]
    return f"**Cost** {_said(cost)}, profile `smoke`, measured on {device}"


def _row(lesson: Lesson, prefix: str) -> str:
    cost = _recorded()["lessons"].get(lesson.name)
    title = f"[{lesson.title}]({prefix}{lesson.path.name})"
    return f"| {lesson.number:02d} | {title} | {lesson.promise} | {_said(cost) if cost else '-'} |"


def _said(cost: dict) -> str:
    return f"{cost['seconds']:.0f} s · {cost['peak_mb'] / 1000:.1f} GB"


def _recorded(path: Path = COSTS) -> dict:
    return json.loads(path.read_text()) if path.exists() else {"provenance": {}, "lessons": {}}
