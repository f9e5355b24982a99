"""What the research commands do: `naslora_workbook.cli.research` names them and their options."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from naslora_core.cli.method_settings import method_of
from naslora_core.data import open_data
from naslora_core.errors import UserError, known
from naslora_core.files import write_atomic
from naslora_core.sam import load_sam, manifest
from naslora_core.sam.checkpoints import read_state
from naslora_core.training.ceilings import mask_side
from naslora_core.training.devices import known_device, launch, peak_mb, single_process
from naslora_workbook.lessons.profiles import profile
from naslora_workbook.research import memory_planner as planner
from naslora_workbook.research import preregistration as registry
from naslora_workbook.research import recovery_grid
from naslora_workbook.research.base_table import component_cases, scene_cases, score
from naslora_workbook.research.benchmarks import gpu_steps
from naslora_workbook.research.benchmarks.method_costs import (
    REFERENCE,
    SIZES,
    as_table,
    facts,
    folded_table,
    measure_folded,
)
from naslora_workbook.research.benchmarks.method_costs import measure as measure_costs
from naslora_workbook.research.benchmarks.operator_overhead import measure_overhead, overhead_text
from naslora_workbook.research.compare import Setting, paired
from naslora_workbook.research.compare import compare as run_compare
from naslora_workbook.research.learning_rate_selection import best_rates
from naslora_workbook.research.methods import METHODS
from naslora_workbook.research.pretraining import pretrain as legs
from naslora_workbook.research.pretraining.leg import Leg
from naslora_workbook.research.pretraining.publish import publish
from naslora_workbook.research.pretraining.weights import latest
from naslora_workbook.research.provenance import provenance
from naslora_workbook.results.records import pack as pack_records


def command_line() -> str:
    """The words of this call, as a reader would type them."""
    return " ".join(["python -m naslora_core", *sys.argv[1:]])


def table(arguments: argparse.Namespace) -> None:
    """Print a row a folder: box and click beside ellipse, disc and ceiling."""
    a, rows = arguments, {}
    sam = load_sam(a.model, a.checkpoint).to(known_device(a.device))
    columns = "box ellipse click disc click_best_of_3 ceiling".split()
    print("".join(f"{c:>17}" for c in ("data", "objects", *columns)))
    for name in a.images or ("scenes",):
        name, cases = _cases(name, a.split)
        rows[name] = row = score(sam, cases)
        values = "".join(f"{row[c]:>17.3f}" for c in columns)
        print(f"{name:>17}{row['objects']:>17}{values}", flush=True)
    if a.out:
        made = provenance(command_line(), sam.device)
        result = {"split": a.split, "rows": rows, "provenance": made}
        write_atomic(a.out, json.dumps(result, indent=1) + "\n")


def _cases(name: str, split: str):
    if name == "scenes":
        return name, scene_cases()
    data = open_data(name, profile("laptop"))
    return data.name, component_cases(getattr(data, split))


def compare(arguments: argparse.Namespace) -> None:
    """Run the missing runs, print every run, then each method against the first, seed by seed."""
    a = arguments
    rates = best_rates(a.rates) if a.rates else None
    sam = load_sam(a.model, a.checkpoint).to(known_device(a.device))
    for name in a.data:
        data = open_data(name, profile("laptop"), groups=a.groups)
        for lr in a.lr:
            how = a.schedule, a.split, a.precision, a.looks, a.tile, a.head
            setting = Setting(a.steps, a.batch, lr, *how)
            _compare(a, sam, data, setting, rates)


def _compare(arguments: argparse.Namespace, sam, data, setting: Setting, rates) -> None:
    methods, out, side = arguments.methods, Path(arguments.out), mask_side(sam)
    records = run_compare(sam, data, methods, arguments.seeds, out, setting, command_line(), rates)
    print(f"ceiling: of masks of {side} x {side}; peak {peak_mb(sam.device):.0f} MB")
    for method in methods[1:]:
        each = paired(records, method, methods[0])
        numbers = ", ".join(f"{d:+.3f}" for d in each)
        print(f"{method} - {methods[0]}, dice by seed: {numbers}; mean {each.mean():+.3f}")


def bench(arguments: argparse.Namespace) -> None:
    """Print a row a method (parameters, step, inference and memory beside LoRA's) and a row a
    folded encoder (inference beside vanilla); keep them."""
    device = str(known_device(arguments.device))
    names = arguments.methods or list(METHODS)
    names = names if REFERENCE in names else [REFERENCE, *names]
    for name in names:
        known(name, METHODS, "Unknown method")
    kept = {"facts": {n: facts(n) for n in names}, "rows": {}, "folded": {}}
    kept |= {"rounds": arguments.rounds}
    for size in arguments.sizes:
        how = arguments.rounds, SIZES[size], device
        kept["rows"][size] = measure_costs(size, names, *how)
        print(as_table(size, kept["rows"][size]), flush=True)
        kept["folded"][size] = measure_folded(size, *how)
        print(folded_table(size, kept["folded"][size]), flush=True)
        if arguments.out:  # after every size, so that a killed run keeps what it has
            kept |= {"provenance": provenance(command_line(), device)}
            write_atomic(arguments.out, json.dumps(kept, indent=1) + "\n")


def protocol(arguments: argparse.Namespace) -> None:
    """Run the missing runs of a share of the cells, then print the verdict so far."""
    a, registered = arguments, registry.read()
    cells = registry.shared(registered.cells(a.only, a.seeds), a.share)
    registered.asked(a.methods)
    if not a.verdict and registry.waiting(registry.results(registered), registered):
        sam = load_sam().to(known_device(a.device))
        registry.run(registered, sam, command_line(), cells, a.methods)
    print(registry.verdict_text(registry.results(registered), registered))


def pack(arguments: argparse.Namespace) -> None:
    """Move finished runs to the recorded results."""
    count = pack_records(Path(arguments.source), arguments.name, arguments.add)
    print(f"Packed {count} records as {arguments.name}.")


def planted(arguments: argparse.Namespace) -> None:
    """Run the missing searches, then print hits of both readings beside chance."""
    place = "sam_nano" if arguments.inside else "cell"
    out = Path(arguments.out or f"build/planted/{place}")
    sam = load_sam() if arguments.inside else None
    print(recovery_grid.table(recovery_grid.run(arguments.seeds, out, command_line(), sam)))


def pretrain(arguments: argparse.Namespace) -> None:
    """Train or go on with a leg, or publish a cooled one."""
    out = Path(arguments.out)
    if arguments.publish:
        print(publish(out)["table"])
        return
    a, start = arguments, None if (out / "state.pt").exists() else _published(latest())
    if a.scenes is None:
        seen = manifest(latest())["scenes_seen"]
        raise UserError(f"--scenes is missing: the latest weights have seen {seen}; give more.")
    leg = Leg(scenes=a.scenes, decay=a.decay, batch=a.batch, lr=a.lr)
    device = known_device(a.device)
    fabric = (
        single_process(device) if a.devices == 1 else launch(a.devices, accelerator=device.type)
    )
    legs.run(leg, out, start, workers=a.workers, fabric=fabric, command=command_line())


def _published(folder: Path) -> dict:
    """Where a leg starts: the tensors of published weights, and what they have cost so far."""
    facts = manifest(folder)
    state = read_state(folder / "sam_nano.safetensors", facts["sha256"])
    start = {"tensors": {k: v.float() for k, v in state.items()}}
    return start | {"scenes": facts["scenes_seen"], "minutes": facts["training_minutes"]}


def plan(arguments: argparse.Namespace) -> None:
    """Print what the setting asked for needs, part by part, and what fits into the card."""
    a = arguments
    method = method_of(a.method, a.set)
    asked = planner.plan(a.model, method, a.batch, a.precision, a.checkpointing)
    need = asked.need
    parts = {"weights": need.weights, "AdamW": need.states, "gradients": need.gradients}
    parts |= {"kept for backward": need.kept, "largest moment beside weights": need.working}
    print(f"{a.model}, {a.method}, {asked}")
    print("  " + ", ".join(f"{name} {size / 1e9:.3f} GB" for name, size in parts.items()))
    if not torch.cuda.is_available():
        print("Kernels of this machine's cpu: no GPU is here, its kernels may keep a little more.")
    if a.card:
        found = planner.propose(asked, a.card)
        print(f"Into {a.card:g} GB ({planner.ROOM:.0%} of them used) fits: {found}")


def measure(arguments: argparse.Namespace) -> None:
    """Print the rows of one question; keep them after every part, so that a killed one has some."""
    a = arguments
    device = str(known_device(a.device))
    for rows in QUESTIONS[a.what](a, device):
        if a.out:
            made = provenance(command_line(), device)
            record = {"rounds": a.rounds, "rows": rows, "provenance": made}
            write_atomic(a.out, json.dumps(record, indent=1) + "\n")


def _plan(a: argparse.Namespace, device: str) -> Iterator[list]:
    rows = []
    for case in planner.CASES:
        rows.append(planner.compare_peaks("sam_nano", *case))
        print(json.dumps(rows[-1]), flush=True)
        yield rows


def _overhead(a: argparse.Namespace, device: str) -> Iterator[dict]:
    rows = {}
    for size in a.sizes:
        rows[size] = measure_overhead(size, a.rounds, device)
        print(f"{size}: {overhead_text(rows[size])}", flush=True)
        yield rows


QUESTIONS = {"plan": _plan, "overhead": _overhead}


def gpu_table(arguments: argparse.Namespace) -> None:
    """Measure what is missing, print all, and what NAS-LoRA removes of Conv-LoRA's overhead."""
    a = arguments
    found = list(gpu_steps.legs(a.sizes, a.batches, a.precision))
    for method in a.methods or ():
        known(method, dict.fromkeys(leg.method for leg in found), "No setting is of method")
    found = [leg for leg in found if not a.methods or leg.method in a.methods]
    records = gpu_steps.run(found, Path(a.out), command_line(), a.device, a.rounds, a.minutes)
    for released, way in ((True, "released"), (False, "fastest")):
        for name, share in gpu_steps.removed(records, released).items():
            print(f"{name}: NAS-LoRA removes {share:.0%} of the {way} Conv-LoRA's overhead")
