"""What is measured, compared and searched for; results go to `results/`."""

from __future__ import annotations

from functools import partial

from naslora_core.cli.command import command, count, option, positive, side, whole
from naslora_core.cli.commands import BASE, DEVICE, GROUPS, METHOD, MODEL

command = partial(command, group="research")

ROWS = option("--out", metavar="FILE", help="keep the rows as JSON, with device, date and commit")


@command(
    option("images", nargs="*", metavar="FOLDER", help="images/ and masks/; default: the scenes"),
    MODEL,
    BASE,
    DEVICE,
    option("--split", default="train", choices=("train", "val", "test"), help="of the folder"),
    ROWS,
)
def table(arguments):
    """Print what a SAM reaches with a box and a click, beside trivial answers and the ceiling."""
    from naslora_workbook.research.commands import table

    table(arguments)


@command(
    option("data", nargs="+", help="as for fit, one or more"),
    option(
        "--methods",
        nargs="+",
        default=["decoder_only", "lora", "nas_lora"],
        help="names of adapters.METHODS, research.variants, or unet",
    ),
    option("--seeds", nargs="+", type=whole, default=[0, 1, 2], help="one run a method and seed"),
    option(
        "--steps", type=count, default=250, help="batches, forward and backward, of each method"
    ),
    option("--batch", type=count, default=8, help="images a step; for vit_b see what `plan` says"),
    option(
        "--lr", nargs="+", type=positive, default=[2e-3], help="learning rates, tried one by one"
    ),
    option("--rates", metavar="FOLDER", help="trials: each method takes the rate that did best"),
    option("--precision", default="fp32", choices=("fp32", "bf16"), help="of forward passes"),
    option("--schedule", default="stage-wise", help="of methods that search: or joint, bilevel"),
    option("--split", default="test", choices=("val", "test"), help="which images are scored"),
    option("--looks", type=whole, default=0, metavar="STEPS", help="between looks at val; 0: none"),
    option("--tile", type=side, metavar="SIDE", help="learn and predict pieces of so many pixels"),
    option("--head", default="plain", choices=("plain", "matched"), help="matched: many classes"),
    MODEL,
    BASE,
    GROUPS,
    DEVICE,
    option("--out", default="build/compare", metavar="FOLDER", help="one JSON a run, kept"),
)
def compare(arguments):
    """Train methods at equal passes, paired by seed, and print Dice and IoU. Goes on if killed."""
    from naslora_workbook.research.commands import compare

    compare(arguments)


@command(
    option("--only", nargs="+", default=[], metavar="DOMAIN", help="some of its domains"),
    option("--methods", nargs="+", default=[], metavar="NAME", help="some of its methods"),
    option("--seeds", nargs="+", type=whole, default=[], metavar="N", help="some of its seeds"),
    option("--share", default="1/1", metavar="I/N", help="every N-th cell, from the I-th"),
    option("--device", default="cpu", metavar="NAME", help="cpu or cuda"),
    option("--verdict", action="store_true", help="run nothing, judge what is there"),
)
def protocol(arguments):
    """Run what is missing of the registered comparison, then judge it. Goes on if killed."""
    from naslora_workbook.research.commands import protocol

    protocol(arguments)


@command(
    option("source", metavar="FOLDER", help="of one JSON a run, or a JSON file"),
    option("name", metavar="NAME", help="FILE or FILE/PART, as in methods, measurements/bench"),
    option("--add", action="store_true", help="behind the records of that name, not instead"),
)
def pack(arguments):
    """Pack the JSON of finished runs into naslora_workbook/results, where tables read it."""
    from naslora_workbook.research.commands import pack

    pack(arguments)


@command(
    option("--inside", action="store_true", help="in two blocks of sam_nano, not on a cell alone"),
    option("--seeds", nargs="+", type=whole, default=[0, 1, 2, 3, 4]),
    option("--out", metavar="FOLDER", help="one JSON a search, kept; default: build/planted/..."),
)
def planted(arguments):
    """Plant operators, search for them, and print how often each reading finds them."""
    from naslora_workbook.research.commands import planted

    planted(arguments)


@command(
    option("--methods", nargs="+", metavar="NAME", help="default: every method"),
    option("--sizes", nargs="+", default=["nano", "vit_b"], choices=("nano", "vit_b")),
    option("--rounds", type=count, default=9, metavar="N", help="turns that each method takes"),
    option("--device", default="cpu", metavar="NAME", help="cpu or cuda"),
    ROWS,
)
def bench(arguments):
    """Time every method's step and inference beside LoRA's, and folded encoders beside vanilla."""
    from naslora_workbook.research.commands import bench

    bench(arguments)


@command(
    option("what", choices=("plan", "overhead"), help="which question"),
    option("--sizes", nargs="+", default=("nano", "vit_b"), choices=("nano", "vit_b"),
           help="of overhead"),
    option("--rounds", type=count, default=5, metavar="N", help="turns"),
    option("--device", default="cpu", metavar="NAME", help="cpu or cuda"),
    ROWS,
)  # fmt: skip
def measure(arguments):
    """Measure how far memory plans are off, or what operators add to a step."""
    from naslora_workbook.research.commands import measure

    measure(arguments)


@command(
    option("model", help="sam_nano, vit_b, vit_l or vit_h"),
    *METHOD,
    option("--batch", type=int, default=4, help="images a step"),
    option("--card", type=positive, metavar="GB", help="propose what fits into so much memory"),
)
def plan(arguments):
    """Predict the memory of a training step from shapes, and propose what fits a card."""
    from naslora_core.cli.method_settings import chosen
    from naslora_workbook.research.commands import plan

    arguments.method = chosen(arguments.method)
    plan(arguments)


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
    from naslora_workbook.research.commands import gpu_table

    gpu_table(arguments)


@command(
    option("--scenes", type=count, metavar="N", help="in all, earlier legs counted"),
    option("--decay", type=float, default=0.1, help="share of the scenes over which lr falls"),
    option("--out", default="build/pretrain", metavar="FOLDER", help="log, state, weights"),
    option("--batch", type=count, default=16, help="scenes a step"),
    option("--lr", type=positive, default=6e-4, help="learning rate before it falls"),
    option("--device", default="cpu", metavar="NAME", help="cpu or cuda"),
    option("--devices", type=count, default=1, metavar="N", help="processes that share a batch"),
    option("--workers", type=count, default=1, metavar="N", help="of each, processes that draw"),
    option("--publish", action="store_true", help="make weights/next of the cooled leg"),
)
def pretrain(arguments):
    """Train sam_nano on procedural scenes, going on from its state or the latest weights."""
    from naslora_workbook.research.commands import pretrain

    pretrain(arguments)
