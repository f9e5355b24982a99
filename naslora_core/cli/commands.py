"""The commands for your images. To add one: a decorated function that imports inside.

Only the standard library may be imported at the top: `--help` works before anything is installed,
and a Python that is too old is told so (hence the annotations of the future).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from naslora_core.cli.command import command, count, option, positive, share, side, whole

command = partial(command, group="your images")

MODEL = option("--model", default="sam_nano", help="sam_nano, vit_b, vit_l or vit_h")
BASE = option("--checkpoint", metavar="FILE", help="weights of the base, if not the usual ones")
GROUPS = option("--groups", metavar="REGEX", help="its first group names the patient or sequence")
DEVICE = option("--device", default="auto", metavar="NAME", help="cpu, cuda; auto: a GPU if any")
DATA = "a folder with images/ and masks/, a .csv, a COCO .json, or a drawn domain such as polyp"
SETTING = {"action": "append", "default": [], "metavar": "NAME=VALUE"}
METHOD = (
    option("--method", metavar="NAME", help="`naslora methods` lists them; default: nas_lora"),
    option("--set", **SETTING, help="rank=8 blocks=late-4 ..."),
    option("--precision", default="fp32", choices=("fp32", "bf16", "fp16"), help="of forward"),
    option("--checkpointing", action="store_true", help="less memory for a third more time"),
)


@command(option("data", metavar="FOLDER|CSV|JSON", help=DATA), GROUPS)
def check(arguments):
    """List what is wrong with images and masks, before a training."""
    from naslora_core.data import check as report_on

    report = report_on(arguments.data, arguments.groups)
    print(report)
    return 0 if report.ok else 1


@command()
def methods(arguments):
    """Print a line a method: what it trains, what folds, when to take it."""
    from naslora_core.cli.method_settings import told

    print(told())


@command(
    option("data", help=DATA),
    *METHOD,
    option("--steps", type=count, default=250, help="batches, forward and backward"),
    option("--batch", type=count, default=8, help="images a step, over all processes"),
    option("--accumulate", type=count, default=1, help="parts of a batch, held one at a time"),
    option("--workers", type=whole, metavar="N", help="processes that prepare; default: by CPUs"),
    option("--cache", metavar="FOLDER", help="of embeddings, where the encoder is frozen"),
    option("--lr", type=positive, default=2e-3, help="learning rate, of Adam"),
    option("--seed", type=whole, default=0, help="of new tensors, order of images, noise"),
    option("--schedule", default="stage-wise", help="of methods that search: or joint, bilevel"),
    option("--loss", default="cross_entropy_dice", help="a wrong name lists all"),
    option("--augment", default="flips", choices=("flips", "full"), help="full: crops, colours"),
    option("--resize", default="square", choices=("square", "pad"), help="pad: keep the shape"),
    option("--tile", type=side, metavar="SIDE", help="learn and predict pieces of so many pixels"),
    option("--tile-objects", type=share, default=0.5, help="share of pieces that hold an object"),
    option("--head", default="plain", choices=("plain", "matched"), help="matched: many classes"),
    option("--validate-every", "--watch", type=whole, default=50, metavar="STEPS", help="0: never"),
    option("--log", choices=("csv", "tensorboard"), help="beside events.jsonl, in a folder"),
    option("--patience", type=count, metavar="N", help="stop after so many without a better one"),
    MODEL,
    BASE,
    GROUPS,
    option("--genotype-images", type=whole, metavar="N", help="to read operators on; 0: none"),
    option("--devices", type=count, default=1, help="processes on this machine, one a GPU"),
    option("--accelerator", "--device", default="auto", choices=("auto", "cpu", "cuda")),
    option("--quiet", action="store_true", help="no progress bar"),
    option("--out", metavar="FOLDER", help="of the run (it goes on there) and its pictures"),
)
def fit(arguments):
    """Adapt a SAM to your images, and keep the best and the last adapter."""
    from naslora_core.cli.fit_command import fit

    fit(arguments)


@command(
    option("data", help="as for fit"),
    option("file", help="an adapter or a folded model; or sam_nano, vit_b, ... with true boxes"),
    option("--split", default="test", choices=("train", "val", "test"), help="that is scored"),
    option("--metrics", nargs="*", default=[], metavar="NAME", help="s_measure, e_measure, ..."),
    option("--worst", type=whole, default=4, metavar="N", help="images that are named and drawn"),
    option("--batch", type=count, default=16, help="images held at once; with boxes, one"),
    DEVICE,
    BASE,
    GROUPS,
    option("--out", metavar="FOLDER", help="keep scores.csv, a row an image"),
)
def evaluate(arguments):
    """Score a trained model on one split, at the images' own sizes."""
    from naslora_core.cli.using import evaluate

    evaluate(arguments)


@command(
    option("file", help="an adapter or a folded model, as .safetensors"),
    option("images", nargs="+", help="pictures, or folders of them"),
    option("--out", required=True, metavar="FOLDER", help="of masks, NAME.png, at images' sizes"),
    option("--overlay", action="store_true", help="also NAME_overlay.png"),
    option("--box", nargs=4, type=float, metavar=("X0", "Y0", "X1", "Y1"), help="in pixels"),
    option("--click", nargs=2, type=float, metavar=("X", "Y"), help="in pixels"),
    DEVICE,
    BASE,
)
def predict(arguments):
    """Draw the masks of images, without a prompt or with one."""
    from naslora_core.cli.using import predict

    predict(arguments)


@command(
    option("file", help="an adapter, or a folded model, as .safetensors"),
    option("out", help=".onnx: encoder; .pth: for segment_anything itself; .safetensors: folded"),
    BASE,
)
def export(arguments):
    """Fold an adapter, say what folded, and write a file that needs no trainer."""
    from naslora_core.cli.using import export

    export(arguments)


@command(
    option("name", nargs="?", help="an entry of data_manifests; without one, all are listed"),
    option("--out", metavar="FOLDER", help="default: the system's cache, or $NASLORA_CACHE"),
    option("--unpack", action="store_true", help="a .zip, into a folder of its name beside it"),
)
def fetch(arguments):
    """Download SAM's checkpoints or an image set, verified, once."""
    from naslora_core.download import entries, fetch, unpack

    if not arguments.name:
        for item in entries().values():
            size = f"{item.bytes / 1e6:.0f} MB" if item.bytes else "size unknown"
            print(f"{item.name:>13}  {size:>12}  {item.licence}; {item.citation}")
        return
    print(path := Path(fetch(arguments.name, arguments.out)))
    if arguments.unpack:
        print(unpack(path, path.with_suffix("")))
