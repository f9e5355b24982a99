"""What is measured: time and memory of methods, and whether a step fits a card."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from naslora_core.cli.command import command, count, option, positive
from naslora_core.cli.commands import METHOD
from naslora_workbook.cli.research import ROWS, keep_rows

command = partial(command, group="research")

SIZES = {"nargs": "+", "default": ["nano", "vit_b"], "choices": ("nano", "vit_b")}
PROCESSOR = option("--device", default="cpu", metavar="NAME", help="cpu or cuda")


@command(
    option("--methods", nargs="+", metavar="NAME", help="default: every method"),
    option("--sizes", **SIZES),
    option("--rounds", type=count, default=9, metavar="N", help="turns that each method takes"),
    PROCESSOR,
    ROWS,
)
def bench(arguments):
    """Time every method's step and inference beside LoRA's, and folded encoders beside vanilla."""
    from naslora_core.errors import known
    from naslora_core.training.devices import known_device
    from naslora_workbook.research.benchmarks import method_costs as costs
    from naslora_workbook.research.methods import METHODS

    device = str(known_device(arguments.device))
    names = arguments.methods or list(METHODS)
    names = names if costs.REFERENCE in names else [costs.REFERENCE, *names]
    for name in names:
        known(name, METHODS, "Unknown method")
    kept = {"facts": {n: costs.facts(n) for n in names}, "rows": {}, "folded": {}}
    kept |= {"rounds": arguments.rounds}
    for size in arguments.sizes:
        how = arguments.rounds, costs.SIZES[size], device
        kept["rows"][size] = costs.measure(size, names, *how)
        print(costs.as_table(size, kept["rows"][size]), flush=True)
        kept["folded"][size] = costs.measure_folded(size, *how)
        print(costs.folded_table(size, kept["folded"][size]), flush=True)
        keep_rows(arguments.out, kept, device)  # a killed run keeps the sizes that it has


@command(
    option("--sizes", **SIZES),
    option("--rounds", type=count, default=5, metavar="N", help="turns"),
    PROCESSOR,
    ROWS,
)
def overhead(arguments):
    """Measure what convolving adapters add to LoRA's step, and how much of it NAS-LoRA removes."""
    from naslora_core.training.devices import known_device
    from naslora_workbook.research.benchmarks import method_costs as costs

    device, rows = str(known_device(arguments.device)), {}
    for size in arguments.sizes:
        rows[size] = costs.measure_overhead(size, arguments.rounds, device)
        print(f"{size}: {costs.overhead_text(rows[size])}", flush=True)
        keep_rows(arguments.out, {"rounds": arguments.rounds, "rows": rows}, device)


@command(
    option("model", help="sam_nano, vit_b, vit_l or vit_h"),
    *METHOD,
    option("--batch", type=int, default=4, help="images a step"),
    option("--card", type=positive, metavar="GB", help="propose what fits into so much memory"),
)
def plan(arguments):
    """Predict the memory of a training step from shapes, and propose what fits a card."""
    import torch

    from naslora_core.cli.method_settings import chosen, method_of
    from naslora_workbook.research import memory_planner as planner

    a, name = arguments, chosen(arguments.method)
    method = method_of(name, a.set)
    asked = planner.plan(a.model, method, a.batch, a.precision, a.checkpointing)
    print(f"{a.model}, {name}, {asked}\n  {asked.need}")
    if not torch.cuda.is_available():
        print("Kernels of this machine's cpu: no GPU is here, its kernels may keep a little more.")
    if a.card:
        found = planner.propose(asked, a.card)
        print(f"Into {a.card:g} GB ({planner.ROOM:.0%} of them used) fits: {found}")


@command(
    option("--sizes", nargs="+", default=["vit_b_1024"], metavar="NAME"),
    option("--batches", nargs="+", type=count, default=[1, 2, 4], metavar="N"),
    option("--methods", nargs="+", metavar="NAME", help="settings of these alone"),
    option("--precision", default="bf16", choices=("fp32", "bf16", "fp16")),
    option("--rounds", type=count, default=9, metavar="N", help="turns of each method and LoRA"),
    option("--device", default="cuda", metavar="NAME", help="cuda, or cpu to try it out"),
    option("--minutes", type=positive, default=8, metavar="M", help="no setting begins after them"),
    option("--out", default="build/gpu", metavar="FOLDER", help="one JSON a setting, kept"),
)
def gpu_table(arguments):
    """Time whole training steps of the real SAM and measure their memory. Goes on if killed."""
    from naslora_core.errors import known
    from naslora_workbook.research.benchmarks import gpu_steps
    from naslora_workbook.research.provenance import command_line

    a = arguments
    found = list(gpu_steps.legs(a.sizes, a.batches, a.precision))
    for method in a.methods or ():
        known(method, dict.fromkeys(leg.method for leg in found), "No setting is of method")
    found = [leg for leg in found if not a.methods or leg.method in a.methods]
    records = gpu_steps.run(found, Path(a.out), command_line(), a.device, a.rounds, a.minutes)
    for released, way in ((True, "released"), (False, "fastest")):
        for name, share in gpu_steps.removed(records, released).items():
            print(f"{name}: NAS-LoRA removes {share:.0%} of the {way} Conv-LoRA's overhead")
