"""What `python -m naslora_core measure QUESTION` and `gpu-table` do."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from naslora_core.errors import UserError
from naslora_core.files import write_atomic
from naslora_core.training.distributed import known_device
from naslora_workbook.research import gpu_table as table
from naslora_workbook.research.attention_forms import SHAPES, compare
from naslora_workbook.research.cached_cost import LATE, measure_cached
from naslora_workbook.research.commands import command_line
from naslora_workbook.research.overhead import measure_overhead, told
from naslora_workbook.research.plan_error import hold, line
from naslora_workbook.research.provenance import provenance
from naslora_workbook.research.whole_inference import measure_inference


def measure(arguments: argparse.Namespace) -> None:
    """Print the rows of one question; keep them after every part, so that a killed one has some."""
    a = arguments
    measuring, takes = QUESTIONS[a.what]
    for name, usual in {"sizes": ("nano", "vit_b"), "device": "cpu"}.items():
        if getattr(a, name) is not None and name not in takes:
            raise UserError(f"measure {a.what} has no choice of --{name}; leave it out.")
        setattr(a, name, getattr(a, name) or usual)
    a.device = str(known_device(a.device))
    for rows in measuring(a):
        if a.out:
            kept = {"rounds": a.rounds, "rows": rows}
            kept |= {"provenance": provenance(command_line(), a.device)}
            write_atomic(a.out, json.dumps(kept, indent=1) + "\n")


def _cache(a) -> Iterator[dict]:
    rows = {}
    for name in LATE:
        rows |= measure_cached([name], a.rounds)
        told = (f"{way} {r['ratio']:.3f} (loss {r['loss_difference']:.0e})"
                for way, r in rows[name].items())  # fmt: skip
        print(f"{name:>16}: a step, {', '.join(told)}", flush=True)
        yield rows


def _attention(a) -> Iterator[dict]:
    rows = {}
    for where in SHAPES:
        rows[where] = compare(where, a.rounds, a.device)
        for form, row in rows[where].items():
            print(f"{where:>9} {form:>17}: {json.dumps(row)}", flush=True)
        yield rows


def _plan(a) -> Iterator[list]:
    rows = []
    for row in hold(a.sizes, a.rounds):
        rows.append(row)
        print(line(row), flush=True)
        yield rows


def _overhead(a) -> Iterator[dict]:
    rows = {}
    for size in a.sizes:
        rows[size] = measure_overhead(size, a.rounds, a.device)
        print(f"{size}: {told(rows[size])}", flush=True)
        yield rows


def _inference(a) -> Iterator[dict]:
    rows = {}
    for precision in ("bf16", "fp32"):
        rows[precision] = measure_inference(precision, a.rounds, a.device)
        for name, row in rows[precision].items():
            print(f"{precision} {name:>27}: {json.dumps(row)}", flush=True)
        yield rows


QUESTIONS = {
    "cache": (_cache, ()),
    "attention": (_attention, ("device",)),
    "plan": (_plan, ("sizes",)),
    "overhead": (_overhead, ("sizes", "device")),
    "inference": (_inference, ("device",)),
}


def gpu_table(arguments: argparse.Namespace) -> None:
    """Measure the missing legs, print all, and what NAS-LoRA removes of Conv-LoRA's overhead."""
    a = arguments
    legs = list(table.legs(a.sizes, a.batches, a.precision))
    unknown = set(a.methods or ()) - {leg.method for leg in legs}
    if unknown:
        known = ", ".join(dict.fromkeys(leg.method for leg in legs))
        raise UserError(f"No leg is of method {min(unknown)!r}; choose from {known}.")
    legs = [leg for leg in legs if not a.methods or leg.method in a.methods]
    records = table.run(legs, Path(a.out), command_line(), a.device, a.rounds)
    for released, way in ((True, "released"), (False, "fastest")):
        for name, share in table.removed(records, released).items():
            print(f"{name}: NAS-LoRA removes {share:.0%} of the {way} Conv-LoRA's overhead")
