"""Where a number came from: device, versions, commit, command, date."""

import datetime
import platform
import subprocess
import sys
from pathlib import Path

import torch

import naslora_core


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


def commit() -> str:
    """Short hash of the checkout, with + where it has uncommitted changes; unknown outside git."""
    root = Path(__file__).parents[2]
    git = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=10"]
    done = subprocess.run(git, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
