"""The commands of `python -m naslora_core`. To add one: a decorated function that imports inside.

Only the standard library may be imported at the top: `--help` works before anything is installed,
and a Python that is too old is told so (hence the annotations of the future).
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable

COMMANDS: dict[str, tuple[Callable, list, dict]] = {}


def option(*names: str, **how) -> tuple[tuple[str, ...], dict]:
    """One argument of a command, spelled as for argparse's `add_argument`."""
    return names, how


def command(*options, needs_packages: bool = True, takes_more: bool = False):
    """Register a function `f(arguments)` under its name; its docstring is the help.

    takes_more: words unknown to us reach it as a second argument, for a tool that it calls.
    """

    def register(function: Callable) -> Callable:
        facts = {"needs_packages": needs_packages, "takes_more": takes_more}
        COMMANDS[function.__name__.rstrip("_").replace("_", "-")] = (function, list(options), facts)
        return function

    return register


def literal(text: str):
    """The value of NAME=VALUE: a Python literal, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def build_parser() -> argparse.ArgumentParser:
    """The parser of all registered commands."""
    parser = argparse.ArgumentParser(prog="python -m naslora_core", description=__doc__)
    parser.description = "The NAS-LoRA workbook: lessons, tests and tools."
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (function, options, facts) in COMMANDS.items():
        text = " ".join((function.__doc__ or "").split())
        one = commands.add_parser(name, help=text.split(". ")[0].rstrip("."), description=text)
        for names, how in options:
            one.add_argument(*names, **how)
        one.set_defaults(run=function, **facts)
    return parser


LESSON = option("--lesson", type=int, metavar="N", help="one lesson by its number")


@command(
    LESSON,
    option("--data", metavar="FOLDER", help="your images/ and masks/, for lessons that take DATA"),
    option("--profile", metavar="NAME", help="smoke, laptop or gpu"),
    option("--set", action="append", default=[], metavar="NAME=VALUE", help="another parameter"),
    option("--record", action="store_true", help="keep the measured costs in the package"),
)
def workbook(arguments):
    """Run the lessons into build/workbook and make pages that open offline."""
    from naslora_core.house.workbook import given_parameters, run_workbook

    given = given_parameters(arguments.data, arguments.profile, arguments.set)
    return run_workbook(arguments.lesson, given, record=arguments.record)


@command(takes_more=True)
def test(arguments, more):
    """Check the code with ruff, then run the tests. More words go to pytest."""
    from naslora_core.house.checks import run_tests

    return run_tests(more)


@command()
def lint(arguments):
    """Check the code and its format with ruff."""
    from naslora_core.house.checks import run_lint

    return run_lint()


@command(LESSON)
def notebooks(arguments):
    """Execute changed lessons (or the one named) from notebooks/text into notebooks/."""
    from naslora_core.house.refresh import refresh

    return refresh(arguments.lesson)


@command(LESSON)
def class_(arguments):
    """Write cleared working copies of the lessons into my_notebooks; keep what is there."""
    from naslora_core.house.classroom import hand_out

    hand_out(arguments.lesson)


@command(LESSON)
def reset(arguments):
    """Restore the working copy of one lesson; the old one is backed up."""
    from naslora_core.house.classroom import reset

    reset(arguments.lesson)


@command(option("--steps", type=int, default=200), option("--seed", type=int, default=0))
def hero(arguments):
    """Make the README's first figure: train once on camouflage, draw, record."""
    from naslora_core.house.hero import make

    make(arguments.steps, arguments.seed)


@command()
def tables(arguments):
    """Write the tables of the READMEs and the lessons' cost lines from recorded files."""
    from naslora_core.house.tables import write_tables

    return write_tables()


@command(needs_packages=False)
def clean(arguments):
    """Remove what the workbook and the tests build; trained models and .venv stay."""
    from naslora_core.house.checks import clean_up

    return clean_up()


@command(
    option("--methods", nargs="+", metavar="NAME", help="default: every method"),
    option("--sizes", nargs="+", default=["nano", "vit_b"], choices=("nano", "vit_b")),
    option("--rounds", type=int, default=9, metavar="N", help="turns that each method takes"),
    option("--device", default="cpu", metavar="NAME", help="cpu or cuda"),
    option("--out", metavar="FILE", help="keep the rows as JSON, with device, date and commit"),
)
def bench(arguments):
    """Time every method's step and inference beside LoRA's, and folded encoders beside vanilla."""
    from naslora_core.training.commands import bench

    bench(arguments)


@command(
    option("model", help="sam_nano, vit_b, vit_l or vit_h"),
    option("--method", default="nas_lora", help="a name of adapters.methods: METHODS"),
    option("--set", action="append", default=[], metavar="NAME=VALUE", help="blocks=late-4 ..."),
    option("--batch", type=int, default=4, help="images a step"),
    option("--precision", default="fp32", choices=("fp32", "bf16", "fp16")),
    option("--checkpointing", action="store_true", help="less memory for a third more time"),
    option("--card", type=float, metavar="GB", help="propose what fits into so much memory"),
    option("--no-time", action="store_true", help="leave out the calibration: memory alone"),
)
def plan(arguments):
    """Predict memory and time of a training step from shapes, and propose what fits a card."""
    from naslora_core.training.planning import plan

    plan(arguments)


@command(
    option("what", choices=("cache", "attention", "plan"), help="which question"),
    option("--sizes", nargs="+", default=["nano", "vit_b"], choices=("nano", "vit_b")),
    option("--rounds", type=int, default=5, metavar="N", help="turns"),
    option("--device", default="cpu", metavar="NAME", help="of attention: cpu or cuda"),
    option("--out", metavar="FILE", help="keep the rows as JSON, with device, date and commit"),
)
def measure(arguments):
    """Measure what a cache saves, the forms of attention, or how far plans are off."""
    from naslora_core.training.measuring import measure

    measure(arguments)


@command(
    option("--sizes", nargs="+", default=["vit_b_1024", "vit_h_1024"], metavar="NAME"),
    option("--batches", nargs="+", type=int, default=[2, 4], metavar="N"),
    option("--methods", nargs="+", metavar="NAME", help="legs of these alone"),
    option("--precision", default="bf16", choices=("fp32", "bf16", "fp16")),
    option("--rounds", type=int, default=9, metavar="N", help="turns of each method and LoRA"),
    option("--device", default="cuda", metavar="NAME", help="cuda, or cpu to try it out"),
    option("--out", default="build/gpu", metavar="FOLDER", help="one JSON a leg, kept"),
)
def gpu_table(arguments):
    """Time whole training steps of the real SAM and measure their memory. Goes on if killed."""
    from naslora_core.training.measuring import gpu_table

    gpu_table(arguments)


@command(
    option("name", nargs="?", help="an entry of data_manifests; without one, all are listed"),
    option("--out", metavar="FOLDER", help="default: the system's cache, or $NASLORA_CACHE"),
    option("--unpack", action="store_true", help="a .zip, into a folder of its name beside it"),
)
def fetch(arguments):
    """Download SAM's checkpoints or an image set, verified, once."""
    from naslora_core.fetch import command

    command(arguments)


GROUPS = option("--groups", metavar="REGEX", help="its first group names the patient or sequence")
BASE = option("--checkpoint", metavar="FILE", help="weights of the base, where it is not sam_nano")


@command(
    option("data", help="a folder with images/ and masks/, a .csv, a COCO .json, or a domain"),
    option("--method", default="nas_lora", help="a name of adapters.methods: METHODS"),
    option("--set", action="append", default=[], metavar="NAME=VALUE", help="rank=8 ..."),
    option("--steps", type=int, default=250),
    option("--batch", type=int, default=8, help="images a step, over all processes"),
    option("--accumulate", type=int, default=1, help="parts of a batch, one held at a time"),
    option("--checkpointing", action="store_true", help="less memory for a third more time"),
    option("--cache", metavar="FOLDER", help="keep what frozen early blocks answer, by image"),
    option("--cache-gb", type=float, default=10.0, metavar="GB", help="that the folder may hold"),
    option("--cache-half", action="store_true", help="kept in float16: half the size, rounded"),
    option("--lr", type=float, default=2e-3),
    option("--seed", type=int, default=0),
    option("--schedule", default="stage-wise", help="of methods that search: or joint, bilevel"),
    option("--precision", default="fp32", choices=("fp32", "bf16", "fp16")),
    option("--loss", default="cross_entropy_dice", help="a name of training.losses: LOSSES"),
    option("--augment", default="flips", choices=("flips", "full"), help="full: crops, colours"),
    option("--resize", default="square", choices=("square", "pad"), help="pad: keep the shape"),
    option("--head", default="plain", choices=("plain", "matched"), help="matched: many classes"),
    option("--watch", type=int, default=50, metavar="STEPS", help="between looks at val; 0: none"),
    option("--patience", type=int, metavar="LOOKS", help="stop after so many without a better one"),
    option("--model", default="sam_nano", help="sam_nano, vit_b, vit_l or vit_h"),
    BASE,
    GROUPS,
    option("--devices", type=int, default=1, help="processes on this machine, one a GPU"),
    option("--nodes", type=int, default=1, help="machines; see CONTRIBUTING for their command"),
    option("--accelerator", default="auto", choices=("auto", "cpu", "cuda")),
    option("--quiet", action="store_true", help="no progress bar"),
    option("--out", metavar="FOLDER", help="log, state and adapters; a killed run goes on there"),
)
def fit(arguments):
    """Adapt a SAM to your images, and keep the best and the last adapter."""
    from naslora_core.training.own_images import fit

    fit(arguments)


@command(
    option("data", help="as for fit"),
    option("file", help="an adapter or a folded model; or sam_nano, prompted with true boxes"),
    option("--split", default="test", choices=("train", "val", "test")),
    option("--metrics", nargs="*", default=[], metavar="NAME", help="s_measure, e_measure, ..."),
    option("--worst", type=int, default=4, metavar="N", help="images named, and drawn with --out"),
    BASE,
    GROUPS,
    option("--out", metavar="FOLDER", help="keep scores.csv, a row an image, and worst.png"),
)
def evaluate(arguments):
    """Score a trained model on one split, at the images' own sizes."""
    from naslora_core.training.own_images import evaluate

    evaluate(arguments)


@command(
    option("file", help="an adapter or a folded model, as .safetensors"),
    option("images", nargs="+", help="pictures, or folders of them"),
    option("--out", required=True, metavar="FOLDER", help="masks, NAME.png, of each image's size"),
    option("--overlay", action="store_true", help="also NAME_overlay.png"),
    option("--box", nargs=4, type=float, metavar=("X0", "Y0", "X1", "Y1"), help="in pixels"),
    option("--click", nargs=2, type=float, metavar=("X", "Y"), help="in pixels"),
    BASE,
)
def predict(arguments):
    """Draw the masks of images, without a prompt or with one."""
    from naslora_core.training.own_images import predict

    predict(arguments)


@command(
    option("file", help="an adapter, or a folded model, as .safetensors"),
    option("out", help=".onnx: encoder; .pth: for segment_anything itself; .safetensors: folded"),
    option("--checkpoint", metavar="FILE", help="weights of the adapter's base, if not sam_nano"),
)
def export(arguments):
    """Fold an adapter, say what folded, and write a file that needs no trainer."""
    from naslora_core.adapters.export import export

    export(arguments)


@command(
    option("images", nargs="*", metavar="FOLDER", help="images/ and masks/; default: the scenes"),
    option("--model", default="sam_nano", help="sam_nano, vit_b, vit_l or vit_h"),
    option("--checkpoint", metavar="FILE", help="weights of that model; sam_nano has its own"),
    option("--split", default="train", choices=("train", "val", "test"), help="of the folder"),
    option("--out", metavar="FILE", help="keep the rows as JSON, with device, date and commit"),
)
def table(arguments):
    """Print what a SAM reaches with a box and a click, beside trivial answers and the ceiling."""
    from naslora_core.training.commands import table

    table(arguments)


@command(
    option("data", nargs="+", help="folders with images/ and masks/, or names of domains"),
    option(
        "--methods",
        nargs="+",
        default=["decoder_only", "lora", "nas_lora"],
        help="names of adapters.methods: METHODS, VARIANTS, or unet",
    ),
    option("--seeds", nargs="+", type=int, default=[0, 1, 2]),
    option("--steps", type=int, default=250, help="batches, forward and backward, of each method"),
    option("--lr", nargs="+", type=float, default=[2e-3], help="learning rates, tried one by one"),
    option("--rates", metavar="FOLDER", help="trials: each method takes the rate that did best"),
    option("--precision", default="fp32", choices=("fp32", "bf16"), help="of forward passes"),
    option("--schedule", default="stage-wise", help="of methods that search: or joint, bilevel"),
    option("--split", default="test", choices=("val", "test"), help="which images are scored"),
    option("--looks", type=int, default=0, metavar="STEPS", help="between looks at val; 0: none"),
    option("--out", default="build/compare", metavar="FOLDER", help="one JSON a run, kept"),
)
def compare(arguments):
    """Train methods at equal passes, paired by seed, and print Dice and IoU. Goes on if killed."""
    from naslora_core.training.commands import compare

    compare(arguments)


@command(
    option("--only", nargs="+", default=[], metavar="DOMAIN", help="some of its domains"),
    option("--methods", nargs="+", default=[], metavar="NAME", help="some of its methods"),
    option("--seeds", nargs="+", type=int, metavar="N", help="some of its seeds"),
    option("--share", default="1/1", metavar="I/N", help="every N-th cell, from the I-th"),
    option("--device", default="cpu", metavar="NAME", help="cpu or cuda"),
    option("--verdict", action="store_true", help="run nothing, judge what is there"),
)
def protocol(arguments):
    """Run what is missing of the registered comparison, then judge it. Goes on if killed."""
    from naslora_core.training.commands import protocol

    protocol(arguments)


@command(
    option("--inside", action="store_true", help="in two blocks of sam_nano, not on a cell alone"),
    option("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4]),
    option("--out", metavar="FOLDER", help="one JSON a search, kept; default: build/planted/..."),
)
def planted(arguments):
    """Plant operators, search for them, and print how often each reading finds them."""
    from naslora_core.training.commands import planted

    planted(arguments)


@command(
    option("data", metavar="FOLDER|CSV|JSON", help="images/ and masks/; a csv; a COCO json"),
    option("--groups", metavar="REGEX", help="its one group: what must fall in one split"),
)
def check(arguments):
    """Look at all images and masks of yours before a training, and list what is wrong."""
    from naslora_core.data import check

    report = check(arguments.data, arguments.groups)
    print(report)
    return 0 if report.ok else 1


@command(
    option("--scenes", type=int, default=240_000, help="in all, earlier legs counted"),
    option("--decay", type=float, default=0.1, help="share of the scenes over which lr falls"),
    option("--out", default="build/pretrain", metavar="FOLDER"),
    option("--publish", action="store_true", help="make the packaged checkpoint of the cooled leg"),
)
def pretrain(arguments):
    """Train sam_nano on procedural scenes, going on from its state or the packaged weights."""
    from naslora_core.training.commands import pretrain

    pretrain(arguments)
