"""Lint, test and clean: thin calls to the tools."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from naslora_workbook.publishing.environment import ROOT

BUILT = ("build/workbook", "build/screenshots", ".pytest_cache", ".ruff_cache", ".hypothesis")


def run_tests(more: list[str]) -> int:
    """ruff, then pytest in two processes of one thread each; exit status of the first failure."""
    pytest = ["pytest", "-n", "2", "--dist", "loadfile", *more]
    return _module("ruff", "check", ".") or _module(*pytest, OMP_NUM_THREADS="1")


def run_lint() -> int:
    """ruff's rules and ruff's format."""
    return _module("ruff", "check", ".") or _module("ruff", "format", "--check", ".")


def clean_up(root: Path = ROOT) -> int:
    """Remove built pages and caches."""
    for name in BUILT:
        shutil.rmtree(root / name, ignore_errors=True)
    return 0


def _module(*words: str, **variables: str) -> int:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables, check=False).returncode
