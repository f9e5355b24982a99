"""What every lesson has in common: where it lies, its set-up cell, its name."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

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
    def opening(self) -> str:
        """The first cell's markdown."""
        import nbformat

        return nbformat.read(self.path, 4).cells[0].source

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
