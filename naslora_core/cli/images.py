"""From a folder of your images to a model that is shipped."""

from __future__ import annotations

from naslora_core.cli.command import (
    BASE,
    DEVICE,
    GROUPS,
    MODEL,
    command,
    count,
    option,
    positive,
    whole,
)

NAMES = (  # of adapters.methods: METHODS, whose import would take seconds
    "decoder_only, full, bitfit, bottleneck, sam_adapter, vpt, lst, ssf, lora, conv_lora, "
    "fixed_conv, nas_lora, nas_pc_lora"
)
DRAWN = "one that is drawn: polyp, vessel, leaf, camouflage or cropweed"
KEPT = "log, state and adapters; a killed run goes on there; default: a name under build/fit"
WRITTEN = "masks, NAME.png, of each image's size; of what is there, only predict's own is replaced"
METHOD = (
    option("--method", default="nas_lora", help=NAMES),
    option(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="rank=8 blocks=late-4 ..."
    ),
    option("--precision", default="fp32", choices=("fp32", "bf16", "fp16"), help="of forward"),
    option("--checkpointing", action="store_true", help="less memory for a third more time"),
)


@command(
    option("name", nargs="?", help="an entry of data_manifests; without one, all are listed"),
    option("--out", metavar="FOLDER", help="default: the system's cache, or $NASLORA_CACHE"),
    option("--unpack", action="store_true", help="a .zip, into a folder of its name beside it"),
)
def fetch(arguments):
    """Download SAM's checkpoints or an image set, verified, once."""
    from naslora_core.download import command, entry
    from naslora_core.files import make_folder

    if arguments.out and arguments.name and entry(arguments.name):
        make_folder(arguments.out)
    command(arguments)


@command(
    option("data", metavar="FOLDER|CSV|JSON", help="images/ and masks/; a csv; a COCO json"),
    GROUPS,
)
def check(arguments):
    """Look at all images and masks of yours before a training, and list what is wrong."""
    from naslora_core.data import check

    report = check(arguments.data, arguments.groups)
    print(report)
    return 0 if report.ok else 1


@command(
    option("model", help="sam_nano, vit_b, vit_l or vit_h"),
    *METHOD,
    option("--batch", type=int, default=4, help="images a step"),
    option("--card", type=positive, metavar="GB", help="propose what fits into so much memory"),
    option("--no-time", action="store_true", help="leave out the calibration: memory alone"),
)
def plan(arguments):
    """Predict memory and time of a training step from shapes, and propose what fits a card."""
    from naslora_workbook.research.planning import plan

    plan(arguments)


@command(
    option("data", help=f"a folder with images/ and masks/, a .csv, a COCO .json, or {DRAWN}"),
    *METHOD,
    option("--steps", type=count, default=250, help="batches, forward and backward"),
    option("--batch", type=count, default=8, help="images a step, over all processes"),
    option("--accumulate", type=count, default=1, help="parts of a batch, one held at a time"),
    option("--cache", metavar="FOLDER", help="keep what frozen early blocks answer, by image"),
    option("--cache-gb", type=positive, metavar="GB", help="that the folder may hold; default 10"),
    option("--cache-half", action="store_true", help="kept in float16: half the size, rounded"),
    option("--lr", type=positive, default=2e-3, help="learning rate, of Adam"),
    option("--seed", type=whole, default=0, help="of new tensors, order of images, noise"),
    option("--schedule", default="stage-wise", help="of methods that search: or joint, bilevel"),
    option("--loss", default="cross_entropy_dice", help="a wrong name lists all"),
    option("--augment", default="flips", choices=("flips", "full"), help="full: crops, colours"),
    option("--resize", default="square", choices=("square", "pad"), help="pad: keep the shape"),
    option("--head", default="plain", choices=("plain", "matched"), help="matched: many classes"),
    option(
        "--validate-every",
        type=whole,
        default=50,
        metavar="STEPS",
        help="between looks at val; 0: none",
    ),
    option(
        "--patience", type=count, metavar="LOOKS", help="stop after so many without a better one"
    ),
    MODEL,
    BASE,
    GROUPS,
    option("--devices", type=count, default=1, help="processes on this machine, one a GPU"),
    option("--nodes", type=count, default=1, help="machines; see CONTRIBUTING for their command"),
    option("--accelerator", "--device", default="auto", choices=("auto", "cpu", "cuda")),
    option("--quiet", action="store_true", help="no progress bar"),
    option("--out", metavar="FOLDER", help=KEPT),
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
    option(
        "--worst", type=whole, default=4, metavar="N", help="images named, and drawn with --out"
    ),
    option("--batch", type=count, default=16, help="images held at once; with boxes, one"),
    DEVICE,
    BASE,
    GROUPS,
    option("--out", metavar="FOLDER", help="keep scores.csv, a row an image, and worst.png"),
)
def evaluate(arguments):
    """Score a trained model on one split, at the images' own sizes."""
    from naslora_core.cli.evaluate_command import evaluate

    evaluate(arguments)


@command(
    option("file", help="an adapter or a folded model, as .safetensors"),
    option("images", nargs="+", help="pictures, or folders of them"),
    option("--out", required=True, metavar="FOLDER", help=WRITTEN),
    option("--overlay", action="store_true", help="also NAME_overlay.png"),
    option("--box", nargs=4, type=float, metavar=("X0", "Y0", "X1", "Y1"), help="in pixels"),
    option("--click", nargs=2, type=float, metavar=("X", "Y"), help="in pixels"),
    DEVICE,
    BASE,
)
def predict(arguments):
    """Draw the masks of images, without a prompt or with one."""
    from naslora_core.cli.predict_command import predict

    predict(arguments)


@command(
    option("file", help="an adapter, or a folded model, as .safetensors"),
    option("out", help=".onnx: encoder; .pth: for segment_anything itself; .safetensors: folded"),
    BASE,
)
def export(arguments):
    """Fold an adapter, say what folded, and write a file that needs no trainer."""
    from naslora_core.cli.export_command import export

    export(arguments)
