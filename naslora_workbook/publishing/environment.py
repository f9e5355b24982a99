"""Go on in a complete environment: this one, or the checkout's `.venv`, made or mended first.

Standard library only: this runs under any Python, before anything is installed.
"""

from __future__ import annotations  # an old Python must get as far as its message

import hashlib
import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "setup.py", ".ci/constraints.txt")  # a change here means: install anew
PACKAGE = "naslora-core"


def enter(words: list[str], root: Path = ROOT) -> None:
    """Return if this interpreter has everything; else make the environment and restart in it.

    An interpreter in which the package is installed is used as it is (conda, Binder, your own).
    """
    if not (root / "pyproject.toml").exists() or _is_ready(root):
        return
    if not is_complete(root):
        from naslora_workbook.publishing.install import install

        install(root)
    _restart([str(venv_python(root)), "-m", "naslora_core", *words])


def is_complete(root: Path) -> bool:
    """Whether `.venv` was installed to its end, from the sources as they are now."""
    stamp = stamp_of(root)
    done = stamp.read_text() if stamp.exists() else ""
    return venv_python(root).exists() and done == fingerprint(root)


def fingerprint(root: Path) -> str:
    """A hash of what the installation depends on."""
    parts = [(root / name).read_bytes() for name in SOURCES]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def stamp_of(root: Path) -> Path:
    """The file that an installation writes last."""
    return root / ".venv" / ".naslora-installed"


def venv_python(root: Path) -> Path:
    """The interpreter of `.venv`."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def inside(root: Path) -> bool:
    """Whether this process runs in `.venv`."""
    return Path(sys.prefix).resolve() == (root / ".venv").resolve()


def _is_ready(root: Path) -> bool:
    if inside(root):
        return is_complete(root)
    elsewhere = [p for p in sys.path if p and Path(p).resolve() != root]
    return any(d.metadata["Name"] == PACKAGE for d in distributions(path=elsewhere))


def _restart(command: list[str]) -> None:
    sys.stdout.flush()
    if os.name == "nt":  # exec would give the prompt back at once
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)
