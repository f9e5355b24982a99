"""What every lesson has in common: where it lies, its set-up cell, its name.

And how many minutes it takes to read and to run once: an estimate from its text.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

from naslora_core.errors import UserError
from naslora_workbook.publishing.environment import ROOT

NOTEBOOKS = ROOT / "notebooks"
SLUG, REF = "naslora/nas-lora-workbook", "main"
SETUP_CELL = f"""\
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("naslora_workbook"):
    source = "git+https://github.com/{SLUG}@{REF}"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"naslora-core[lessons] @ {{source}}"], check=True)"""
WORDS_A_MINUTE = 150
PREDICTION = 2  # minutes for each box "Predict first"
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)
MINUTES = re.compile(r"^\*\*Minutes\*\*, .*$", re.MULTILINE)
HEADING = re.compile(r"^###? (.+)$", re.MULTILINE)
NEEDED = re.compile(r"^(# \|.*\]\(\d\d_.* \| )\d+( \|)$", re.MULTILINE)


@dataclass(frozen=True)
class Lesson:
    """One `notebooks/NN_name.ipynb`; `text` is its paired script."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def number(self) -> int:
        return int(self.name[:2])

    @property
    def text(self) -> Path:
        return self.path.parent / "text" / f"{self.name}.py"

    @cached_property
    def notebook(self):
        """The lesson as it was executed."""
        return nbformat.read(self.path, 4)

    @property
    def opening(self) -> str:
        """The first cell's markdown."""
        return self.notebook.cells[0].source

    @property
    def title(self) -> str:
        """`# 05 · Inject a low-rank adapter` without the sign and the number."""
        return re.sub(r"^#\s*(\d+\s*·\s*)?", "", self.opening.partition("\n")[0])

    @property
    def promise(self) -> str:
        """The blockquote below the title, on one line."""
        lines = [x[1:].strip() for x in self.opening.splitlines() if x.startswith(">")]
        return " ".join(lines)


def lessons(folder: Path = NOTEBOOKS) -> list[Lesson]:
    """All lessons of a folder in reading order."""
    return [Lesson(p) for p in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]


def chosen_lessons(number: int | None, folder: Path = NOTEBOOKS) -> list[Lesson]:
    """All lessons, or the one with this number; UserError where there is none."""
    found = lessons(folder)
    if not found:
        raise UserError(f"There is no lesson in {folder}; start from a clone of the repository.")
    picked = [x for x in found if number in (None, x.number)]
    if not picked:
        known = ", ".join(f"{x.number:02d}" for x in found)
        raise UserError(f"There is no lesson {number:02d}; choose one of {known}.")
    return picked


def by_section(notebook) -> dict[str, float]:
    """Minutes of every section; `opening` is before the first heading, `end` from the recap on."""
    section, found = "opening", {"opening": 0.0}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found[section] += _runs(cell.source)
            continue
        before, *parts = HEADING.split(FOLDED.sub("", cell.source))
        found[section] += _prose(before)
        for heading, text in zip(parts[::2], parts[1::2], strict=True):
            section = "end" if section == "end" or heading == "Recap" else heading
            found[section] = found.get(section, 0) + _prose(text)
    return found


def _runs(source: str) -> int:
    """A minute for a code cell; none for imports and for an exercise, which names its own."""
    return not (imports_alone(source) or re.search(r'Error\("Exercise |^checks\.ex_', source, re.M))


def _prose(text: str) -> float:
    """Minutes to read a text, to make its predictions, and for the exercise that it asks."""
    asked = sum(int(n) for n in re.findall(r"^(\d+) minutes ·", text, re.MULTILINE))
    return len(text.split()) / WORDS_A_MINUTE + PREDICTION * text.count("**Predict first") + asked


def total(notebook) -> int:
    """Minutes of a whole lesson, to the next five."""
    return 5 * round(sum(by_section(notebook).values()) / 5)


def in_guide(text: str, known: list[Lesson]) -> str:
    """The teachers' guide with the minutes of every lesson as it stands."""
    for lesson in known:
        found = by_section(lesson.notebook).items()
        each = " · ".join(f"{name} {max(1, round(spent))}" for name, spent in found)
        line = f"**Minutes**, about {total(lesson.notebook)} in all: {each}."
        before, heading, after = text.partition(f"\n### Lesson {lesson.number:02d}\n")
        text = before + heading + MINUTES.sub(lambda _, line=line: line, after, count=1)
    return text


def of_needed(text: str, known: list[Lesson]) -> str:
    """A lesson's script with the minutes of the lessons that its table "you need" links to."""
    spent = {f"{x.number:02d}": total(x.notebook) for x in known}

    def row(found: re.Match) -> str:
        linked = re.findall(r"\]\((\d\d)_", found[1])
        return f"{found[1]}{sum(spent.get(number, 0) for number in linked)}{found[2]}"

    return NEEDED.sub(row, text)


def imports_alone(source: str) -> bool:
    """Whether a cell is the set-up, or holds import statements and nothing else."""
    lines = [x for x in source.splitlines() if x and not x.startswith((" ", ")", "#"))]
    imports = bool(lines) and all(x.startswith(("import ", "from ")) for x in lines)
    return imports or source == SETUP_CELL
