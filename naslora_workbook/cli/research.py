"""What is measured, compared, searched for and pre-trained; `pack` puts results into `results/`.

Only the standard library at the top; a command imports what it needs, as in `naslora_core.cli`.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from naslora_core.cli.command import command, count, option, positive, side, whole
from naslora_core.cli.commands import BASE, DEVICE, GROUPS, METHOD, MODEL

command = partial(command, group="research")

COMPARED = ["decoder_only", "lora", "nas_lora"]
SOME = option("--methods", nargs="+", metavar="NAME", help="these alone; default: every method")
SPLITS = ("train", "val", "test")
PROCESSOR = option("--device", default="cpu", metavar="NAME", help="cpu or cuda")
ROUNDS = option("--rounds", type=count, default=9, metavar="N", help="turns that each one takes")


@command(
    option("data", nargs="+", help="as for fit, one or more"),
    option("--methods", nargs="+", default=COMPARED, help="of METHODS or VARIANTS, or unet"),
    option("--seeds", nargs="+", type=whole, default=[0, 1, 2], help="one run a method and seed"),
    option("--steps", type=count, default=250, help="batches of each method"),
    option("--batch", type=count, default=8, help="images a step; for vit_b see what `plan` says"),
    option("--lr", nargs="+", type=positive, default=[2e-3], help="rates, tried one by one"),
    option("--rates", metavar="FOLDER", help="trials: each method takes the rate that did best"),
    option("--precision", default="fp32", choices=("fp32", "bf16"), help="of forward passes"),
    option("--schedule", default="stage-wise", help="of methods that search: or joint, bilevel"),
    option("--split", default="test", choices=SPLITS[1:], help="which images are scored"),
    option("--looks", type=whole, default=0, metavar="STEPS", help="between looks at val; 0: none"),
    option("--tile", type=side, metavar="SIDE", help="learn and predict pieces of so many pixels"),
    option("--head", default="plain", choices=("plain", "matched"), help="matched: many classes"),
    *(MODEL, BASE, GROUPS, DEVICE),
    option("--out", default="build/compare", metavar="FOLDER", help="one JSON a run, kept"),
)
def compare(arguments):
    """Train methods at equal passes, paired by seed, and print Dice and IoU. Goes on if killed."""
    from naslora_core.data import open_data
    from naslora_core.sam import load_sam
    from naslora_core.training.devices import known_device
    from naslora_workbook.lessons.profiles import profile
    from naslora_workbook.research import compare as comparison
    from naslora_workbook.research.learning_rate_selection import best_rates
    from naslora_workbook.research.provenance import command_line

    a = arguments
    rates = best_rates(a.rates) if a.rates else None
    sam = load_sam(a.model, a.checkpoint).to(known_device(a.device))
    for name in a.data:
        data = open_data(name, profile("laptop"), groups=a.groups)
        for lr in a.lr:
            rest = a.schedule, a.split, a.precision, a.looks, a.tile, a.head
            setting = comparison.Setting(a.steps, a.batch, lr, *rest)
            how = a.methods, a.seeds, Path(a.out), setting, command_line(), rates
            records = comparison.compare(sam, data, *how)
            print(comparison.closing_lines(records, a.methods, sam))


@command(
    option("--runs", metavar="FOLDER", help="make the missing runs there"),
    option("--pack", metavar="FOLDER", help="keep the runs of this folder in the results"),
    option("--sets", default="data", metavar="FOLDER", help="of the image sets that it names"),
    option("--share", default="1/1", metavar="I/N", help="of the runs: the I-th of each N parts"),
    option("--until", default="", metavar="HH:MM", help="begin no part after, UTC"),
)
def protocol(arguments):
    """Print the verdict of the registered comparison, all of whose runs are recorded."""
    from naslora_workbook.research import preregistration as registry

    if arguments.pack:
        print(f"Kept {registry.pack(registry.FILE, Path(arguments.pack))} runs.")
    elif arguments.runs:
        places = Path(arguments.runs), Path(arguments.sets)
        registry.run(registry.FILE, *places, arguments.share, arguments.until)
    else:
        protocol, records = registry.registered()
        print(registry.verdict_text(records, protocol))


@command(
    option("source", metavar="FOLDER", help="of one JSON a run, or a JSON file"),
    option("name", metavar="NAME", help="FILE or FILE/PART, as in methods, measurements/bench"),
    option("--add", action="store_true", help="behind the records of that name, not instead"),
)
def pack(arguments):
    """Pack the JSON of finished runs into naslora_workbook/results, where tables read it."""
    from naslora_workbook.results.records import pack

    packed = pack(Path(arguments.source), arguments.name, arguments.add)
    print(f"Packed {packed} records as {arguments.name}.")


@command(
    option("--scenes", type=count, metavar="N", help="in all, earlier legs counted"),
    option("--decay", type=float, default=0.1, help="share of the scenes over which lr falls"),
    option("--out", default="build/pretrain", metavar="FOLDER", help="log, state, weights"),
    option("--batch", type=count, default=16, help="scenes a step"),
    option("--lr", type=positive, default=6e-4, help="learning rate before it falls"),
    PROCESSOR,
    option("--workers", type=count, default=1, metavar="N", help="processes that draw scenes"),
    option("--publish", action="store_true", help="write the files of new weights from a leg"),
)
def pretrain(arguments):
    """Train sam_nano on procedural scenes, going on from its state or the packaged weights."""
    from naslora_core.errors import UserError
    from naslora_core.training.devices import known_device
    from naslora_workbook.research.pretraining import pretrain
    from naslora_workbook.research.pretraining.leg import Leg
    from naslora_workbook.research.provenance import command_line

    a, out = arguments, Path(arguments.out)
    if a.publish:
        print(pretrain.publish(out)["table"])
        return
    start = pretrain.published()
    if a.scenes is None:
        raise UserError(
            f"--scenes is missing: the packaged weights have seen {start['scenes']}; give more."
        )
    leg = Leg(scenes=a.scenes, decay=a.decay, batch=a.batch, lr=a.lr)
    how = {"workers": a.workers, "device": known_device(a.device), "command": command_line()}
    pretrain.run(leg, out, start, **how)


@command(
    SOME,
    option("--sizes", nargs="+", default=["nano", "vit_b"], choices=("nano", "vit_b")),
    *(ROUNDS, PROCESSOR),
    option("--out", metavar="FILE", help="keep the rows as JSON, with device, date and commit"),
)
def bench(arguments):
    """Time every method's step and inference beside LoRA's, and folded encoders beside vanilla."""
    from naslora_core.errors import known
    from naslora_core.files import write_atomic
    from naslora_core.training.devices import known_device
    from naslora_workbook.research.benchmarks import method_costs as costs
    from naslora_workbook.research.methods import METHODS
    from naslora_workbook.research.provenance import command_line, provenance
    from naslora_workbook.results.labels import numbers

    a, where = arguments, str(known_device(arguments.device))
    names = [known(name, METHODS, "Unknown method") for name in a.methods or METHODS]
    if costs.REFERENCE not in names:
        names.insert(0, costs.REFERENCE)
    kept = {"facts": {n: costs.facts(n) for n in names}, "rows": {}, "folded": {}}
    for size in a.sizes:
        how = a.rounds, costs.SIZES[size], where
        kept["rows"][size] = costs.measure(size, names, *how)
        print(numbers(size, kept["rows"][size], costs.COLUMNS), flush=True)
        kept["folded"][size] = costs.measure_folded(size, *how)
        print(numbers(f"{size}, folded", kept["folded"][size], costs.FOLDED_COLUMNS), flush=True)
        if a.out:  # a killed run keeps these sizes
            made = {"rounds": a.rounds, "provenance": provenance(command_line(), where)}
            write_atomic(a.out, json.dumps(kept | made, indent=1) + "\n")


@command(
    option("model", help="sam_nano, vit_b, vit_l or vit_h"),
    *METHOD,
    option("--batch", type=int, default=4, help="images a step"),
    option("--card", type=positive, metavar="GB", help="propose what fits into so much memory"),
)
def plan(arguments):
    """Predict the memory of a training step from shapes, and propose what fits a card."""
    from naslora_core.cli.method_settings import chosen, method_of
    from naslora_workbook.research import memory_planner as planner

    a, name = arguments, chosen(arguments.method)
    method = method_of(name, a.set)
    asked = planner.plan(a.model, method, a.batch, a.precision, a.checkpointing)
    print(f"{a.model}, {name}, {asked}\n  {asked.need}\nKernels of {planner.device()}.")
    if a.card:
        found = planner.propose(asked, a.card)
        print(f"Into {a.card:g} GB ({planner.ROOM:.0%} of them used) fits: {found}")


@command(
    option("--sizes", nargs="+", default=["vit_b_1024"], metavar="NAME"),
    option("--batches", nargs="+", type=count, default=[1, 2, 4], metavar="N"),
    SOME,
    option("--precision", default="bf16", choices=("fp32", "bf16", "fp16")),
    ROUNDS,
    option("--device", default="cuda", metavar="NAME", help="cuda, or cpu to try it out"),
    option("--minutes", type=positive, default=8, metavar="M", help="no setting begins after them"),
    option("--out", default="build/gpu", metavar="FOLDER", help="one JSON a setting, kept"),
)
def gpu_table(arguments):
    """Time whole training steps of the real SAM and measure their memory. Goes on if killed."""
    from naslora_workbook.research.benchmarks import gpu_steps
    from naslora_workbook.research.provenance import command_line

    a = arguments
    found = gpu_steps.legs(a.sizes, a.batches, a.precision, a.methods or gpu_steps.COMPARED)
    records = gpu_steps.run(found, Path(a.out), command_line(), a.device, a.rounds, a.minutes)
    for released, way in ((True, "released"), (False, "fastest")):
        for name, share in gpu_steps.removed(records, released).items():
            print(f"{name}: NAS-LoRA removes {share:.0%} of the {way} Conv-LoRA's overhead")
