"""The README's four doors: where each leads, how long it takes and how large it is."""

import json
from pathlib import Path

from naslora_workbook.publishing.install import CPU_SIZE, CUDA_SIZE
from naslora_workbook.publishing.lesson import BINDER, COLAB, COSTS, NOTEBOOKS, lessons
from naslora_workbook.publishing.minutes import sections


def doors(notebooks: Path = NOTEBOOKS, recorded: Path = COSTS) -> str:
    """Read, try, run, teach: hours are those of the teachers' guide, costs were measured."""
    known, kept = lessons(notebooks), json.loads(recorded.read_text())
    costs, device = kept["lessons"], kept["provenance"]["device"]
    hours = sum(sum(sections(x).values()) for x in known) / 60
    size = sum(x.path.stat().st_size for x in known) / 1e6
    minutes = sum(cost["seconds"] for cost in costs.values()) / 60
    peak = max(cost["peak_mb"] for cost in costs.values()) / 1000
    first, cost = known[0], costs[known[0].name]
    begin = 5 * round(sum(sections(first).values()) / 5)
    rows = {
        "read": f"[{len(known)} lessons](notebooks/README.md) with all outputs, in the browser | "
        f"{hours:.0f} hours with every exercise; {size:.0f} MB",
        "try": f"[Binder]({BINDER}/{first.path.name}) or [Colab]({COLAB}/{first.path.name}), "
        f"nothing to install | {begin} minutes for the first lesson, which runs "
        f"{cost['seconds']:.0f} s in {cost['peak_mb'] / 1000:.1f} GB",
        "run": f"`make workbook`, below | {minutes:.0f} minutes for all on {device}; "
        f"{peak:.1f} GB of memory. First installation: {CPU_SIZE}; with CUDA {CUDA_SIZE}",
        "teach": "[courses, concept questions, slides, a project](notebooks/TEACHING.md) | two "
        "hours, a day or four weeks; pages to hand out, which open offline",
    }
    lines = [f"| **{door}** | {row} |" for door, row in rows.items()]
    return "\n".join(["| | where | what it takes |\n|---|---|---|", *lines])
