"""Lint, test and clean: thin calls to the tools."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from naslora_workbook.publishing.environment import ROOT

PERSONIFIED = r"\b(hears?|heard|deaf|loud(er|est)?|wears?|tired|mends?|mended|by a hair)\b"
PROSE = ("notebooks/text/*.py", "**/*.md", "naslora_*/**/*.py", "naslora_*/**/sentences.yml")
BUILT = ("build/workbook", "build/screenshots", ".pytest_cache", ".ruff_cache", ".hypothesis")


def run_tests(more: list[str], fast: bool = False) -> int:
    """ruff, then pytest in two processes of one thread each; exit status of the first failure.

    fast: without executing lessons, starting a browser, or installing. tests/conftest.py says which
    files that leaves out, what stays together in a process, and what begins first.
    """
    pytest = ["pytest", "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder"]
    pytest += ["--fast"] * fast + more
    return _module("ruff", "check", ".") or _module(*pytest, OMP_NUM_THREADS="1")


def run_lint() -> int:
    """ruff's rules and ruff's format; words that CONTRIBUTING asks to replace are printed."""
    for place in personified_words():
        print(f"{place} (CONTRIBUTING, Words)")
    return _module("ruff", "check", ".") or _module("ruff", "format", "--check", ".")


def personified_words(root: Path = ROOT) -> list[str]:
    """Places `file:line: word` in prose and code where a thing hears, wears or tires."""
    files = sorted({f for pattern in PROSE for f in root.glob(pattern) if ".venv" not in f.parts})
    return [
        f"{file.relative_to(root)}:{number}: {found[0]}"
        for file in files
        if file.name not in ("checks.py", "CONTRIBUTING.md")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        for found in re.finditer(PERSONIFIED, line, re.IGNORECASE)
    ]


def clean_up(root: Path = ROOT) -> int:
    """Remove built pages and caches."""
    for name in BUILT:
        shutil.rmtree(root / name, ignore_errors=True)
    return 0


def _module(*words: str, **variables: str) -> int:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables, check=False).returncode
