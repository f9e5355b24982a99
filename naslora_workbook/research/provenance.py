"""Where a number came from: device, versions, commit, command, date."""

import datetime
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import torch

import naslora_core

CODE = ("naslora_core", "naslora_workbook", "notebooks/text", ":!naslora_workbook/results")


def command_line() -> str:
    """The words of this call, as a reader would type them."""
    return " ".join(["python -m naslora_core", *sys.argv[1:]])


def provenance(command: str, device: str | torch.device = "cpu") -> dict[str, str | int]:
    """The facts that stand beside every recorded result; device: where it was computed."""
    return {
        "command": command,
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "version": naslora_core.__version__,
    }


def device_name(device: str | torch.device = "cpu") -> str:
    """The name of a GPU, or of the processor with its number of cores."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.processor() or sys.platform} ({len(names) or 1} cores)"
    )


def commit(root: Path = Path(__file__).parents[2]) -> str:
    """Short hash of the checkout, with + where code or lessons have uncommitted changes (not
    records: a run writes its own). Outside git $NASLORA_COMMIT, as a copy on a cluster may set it,
    else unknown."""
    if not ((root / ".git").exists() and shutil.which("git")):
        return os.environ.get("NASLORA_COMMIT", "unknown")
    changed = git(root, "status", "--porcelain", "--", *CODE)
    return (git(root, "rev-parse", "--short=10", "HEAD") or "unknown") + "+" * bool(changed)


def git(root: Path, *words: str) -> str:
    """What git prints in a folder; nothing where it fails."""
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
