"""What every lesson measures on the page, beside the budget that a lesson should keep."""

import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import nbformat

from naslora_workbook.publishing.lesson import NOTEBOOKS, Lesson, lessons

FOLD = re.compile(r"<details>.*?</details>", re.DOTALL)
BUDGET = {  # of every measure the least and the most
    "code cells": (15, 30),
    "median": (1, 5),
    "longest": (1, 20),
    "words": (800, 1800),
    "figures": (1, 6),
    "exercises": (2, 4),
    "MB": (0, 1),
}
REASONS = {  # what a lesson outside of the budget has for it, by its number
    "03": "a loop by hand, and four ways to be misled by it: cells that are experiments",
    "04": "eight claims, each with an experiment of its own: to cut one is to drop its evidence",
    "05": "four parts that need one fine-tuning: spectrum, start, merge, swap",
    "06": "a neighbourhood, eight scales, a router and its loss, all by hand and shown equal",
    "09": "a search by hand, its control and its failures on purpose: cells that are whole runs",
    "10": "two readings held against a domain, a seed and an ablation: cells that are experiments",
    "11": "folds, files and clocks, in cells that a reader will carry off whole",
    "12": "many methods, and beside every table the control that could refute it",
    "13": "a whole project of one's own, from faults in a folder to the file that is shipped",
}


@dataclass(frozen=True)
class Style:
    """The measures of one lesson, named as in BUDGET."""

    lesson: Lesson
    found: dict[str, float]

    @property
    def outside(self) -> list[str]:
        """The measures that leave the budget."""
        return [n for n, value in self.found.items() if not BUDGET[n][0] <= value <= BUDGET[n][1]]


def measure(lesson: Lesson) -> Style:
    """Cells and outputs of the committed notebook; words are its prose outside of folds."""
    notebook = nbformat.read(lesson.path, 4)
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    prose = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    lines = [len(c.source.splitlines()) for c in code]
    found = {
        "code cells": len(code),
        "median": median(lines),
        "longest": max(lines),
        "words": len(FOLD.sub("", prose).split()),
        "figures": sum("image/png" in o.get("data", {}) for c in code for o in c.outputs),
        "exercises": len(re.findall(r"^### Exercise \d", prose, re.MULTILINE)),
        "MB": round(lesson.path.stat().st_size / 1e6, 1),
    }
    return Style(lesson, found)


def style_table(notebooks: Path = NOTEBOOKS) -> str:
    """A row a lesson, what leaves the budget in bold; below, the reasons of these."""
    styles = [measure(lesson) for lesson in lessons(notebooks)]
    head = f"| lesson | {' | '.join(BUDGET)} |\n{'|---' * (len(BUDGET) + 1)}|"
    ends = " | ".join(f"{a} to {b}" if a > 1 else f"<= {b}" for a, b in BUDGET.values())
    rows = [f"| [{s.lesson.name}]({s.lesson.text.name}) | {_cells(s)} |" for s in styles]
    numbers = [f"{s.lesson.number:02d}" for s in styles if s.outside]
    reasons = [f"- {number}: {REASONS[number]}" for number in numbers if number in REASONS]
    return "\n".join([head, f"| budget | {ends} |", *rows, "", *reasons])


def _cells(style: Style) -> str:
    shown = ((name, f"{value:,g}") for name, value in style.found.items())
    return " | ".join(f"**{text}**" if name in style.outside else text for name, text in shown)
