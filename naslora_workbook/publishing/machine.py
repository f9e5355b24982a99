"""The machine under a lesson, beside the one on which the lessons' costs were measured."""

import os
import platform

import torch

from naslora_workbook.figures.picture import Rows
from naslora_workbook.research.provenance import device_name
from naslora_workbook.results.records import measured

WORDS = ("python", "torch", "device", "threads")


def machine(device: str = "cpu") -> Rows:
    """Python, torch, device, threads and memory: here, and where the cost lines come from.

    device: that of the profile, "cpu" or "cuda".
    """
    costs = measured("measurements/workbook")
    there, peak = costs["provenance"], max(cost["peak_mb"] for cost in costs["lessons"].values())
    here = platform.python_version(), torch.__version__, device_name(device)
    values = (*here, str(torch.get_num_threads()))
    pairs = {name: (value, there[name]) for name, value in zip(WORDS, values, strict=True)}
    used = f"{peak / 1e3:.1f} GB, the largest lesson"
    pairs["memory"] = f"{memory(device) / 1e9:.0f} GB", used
    columns = "here", "lessons were measured on"
    return Rows({name: dict(zip(columns, pair, strict=True)) for name, pair in pairs.items()})


def memory(device: str = "cpu") -> int:
    """Bytes of this machine's memory, or of its graphics card's."""
    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    import psutil  # a lesson on Colab has none, and Colab has sysconf

    return psutil.virtual_memory().total
