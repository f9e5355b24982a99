"""Go on in a complete environment: this one, or the checkout's `.venv`, made or repaired first.

Standard library only: this runs under any Python, before anything is installed.
"""

from __future__ import annotations  # an old Python must get as far as its message

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from naslora_core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "setup.py", ".ci/constraints.txt")  # a change here means: install anew
PACKAGE = "naslora-core"
OLDEST, NEWEST = (3, 11), (3, 13)
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CPU_SIZE = "about 0.5 GB to download, 2 GB on disk"
CUDA_SIZE = (
    "about 3 GB to download, 7 GB on disk, for CUDA. Without an NVIDIA card stop it by Ctrl-C and "
    f"start again with TORCH=cpu ({CPU_SIZE})"
)
UNFINISHED = "unfinished"


def enter(words: list[str], root: Path = ROOT) -> None:
    """Return if this interpreter has everything; else make the environment and restart in it.

    An interpreter in which the package is installed is used as it is (conda, Binder, your own).
    """
    if not (root / "pyproject.toml").exists() or is_ready(root):
        return
    if not is_complete(root):
        install(root)
    command = [str(venv_python(root)), "-m", "naslora_core", *words]
    sys.stdout.flush()
    if os.name == "nt":  # exec would give the prompt back at once
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)


def is_ready(root: Path) -> bool:
    """Whether this interpreter can run the commands as it is."""
    if inside(root):
        return is_complete(root)
    elsewhere = [p for p in sys.path if p and Path(p).resolve() != root]
    return any(d.metadata["Name"] == PACKAGE for d in distributions(path=elsewhere))


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


def install(root: Path) -> None:
    """Create or repair `root/.venv`. `TORCH=cpu` in the environment takes PyTorch's CPU build.

    The stamp is written last. A killed installation leaves one that says so, and the next start
    begins with an empty environment. Raises UserError for a wrong Python and where pip gives up.
    """
    torch = os.environ.get("TORCH", "")
    if torch not in ("", "cpu"):
        raise UserError(f"TORCH={torch} is not known; use TORCH=cpu, or leave it out.")
    _make_room(root)
    size = CUDA_SIZE if sys.platform == "linux" and torch != "cpu" else CPU_SIZE
    print(f"Installing PyTorch, JupyterLab and the workbook into {root / '.venv'}: {size}.")
    sys.stdout.flush()
    if not venv_python(root).exists():
        help_ = "python -m venv: on Debian and Ubuntu install python3-venv"
        _call([sys.executable, "-m", "venv", str(root / ".venv")], help_)
    _pip_install(root, ["--extra-index-url", CPU_INDEX] if torch == "cpu" else [])


def _make_room(root: Path) -> None:
    """A missing, broken or half-made environment begins anew; a complete one is kept."""
    stamp = stamp_of(root)
    half_made = stamp.exists() and stamp.read_text() == UNFINISHED
    if not inside(root) and (half_made or not venv_python(root).exists()):
        _check_version(sys.version_info[:2])
        shutil.rmtree(root / ".venv", ignore_errors=True)


def _pip_install(root: Path, index: list[str]) -> None:
    stamp = stamp_of(root)
    stamp.write_text(UNFINISHED)
    wanted = ["-e", f"{root}[notebooks,test]", "-c", str(root / ".ci" / "constraints.txt")]
    pip = [str(venv_python(root)), "-m", "pip", "install", *wanted, *index]
    try:
        _call(pip, "pip: see its last lines above (network? disk?)")
    except UserError:
        stamp.unlink()  # pip itself gave up, and then it leaves nothing half-made
        raise
    stamp.write_text(fingerprint(root))


def _check_version(found: tuple) -> None:
    if not OLDEST <= found <= NEWEST:
        raise UserError(
            f"This is Python {found[0]}.{found[1]}; the workbook needs 3.{OLDEST[1]} to "
            f"3.{NEWEST[1]}: install one of them and start with it (make PYTHON=python3.12 ...)."
        )


def _call(command: list[str], trouble: str) -> None:
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"The installation stopped in {trouble}; then start again.")
