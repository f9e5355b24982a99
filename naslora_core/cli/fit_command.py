"""What `naslora fit` does with your images."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from naslora_core.adapters import adapt
from naslora_core.cli import drawing
from naslora_core.cli.command import first_note
from naslora_core.cli.method_settings import chosen, method_of
from naslora_core.cli.using import SOFTWARE, check_foreign, draw_worst, worst_of
from naslora_core.data import Dataset, open_data
from naslora_core.data.image_io import allow_large_pictures
from naslora_core.errors import fault
from naslora_core.files import make_folder, write_atomic
from naslora_core.sam import load_sam
from naslora_core.training.devices import launch
from naslora_core.training.early_stopping import VALIDATION_DICE, EarlyStopping, validation_scores
from naslora_core.training.evaluation import evaluate as score
from naslora_core.training.fitting import fit as train

OPTIONS = (  # of the command that are those of a training
    "schedule", "steps", "batch", "lr", "seed", "precision", "loss", "accumulate", "checkpointing",
    "augment", "cache", "workers", "genotype_images",
)  # fmt: skip
PLOTS = {"loss": "loss", VALIDATION_DICE: "validation Dice"}
PLOT_SECONDS = 10  # between two drawings of them


def fit(a: argparse.Namespace) -> None:
    """Train, and leave `last.safetensors` and `best.safetensors` with log and plots in a folder."""
    a.method = chosen(a.method)
    method = method_of(a.method, a.set)
    if not a.validate_every and a.patience is not None:
        given = f"leaves --patience {a.patience} nothing to count"
        raise fault("--validate-every 0", given, "1 or more", "give it, or leave --patience out")
    fabric = launch(a.devices, a.precision, a.accelerator)
    allow_large_pictures(a.tile)
    sam, data = load_sam(a.model, a.checkpoint), _open(a, fabric)
    out = Path(a.out or f"build/fit/{data.name}-{a.model}-{a.method}-{a.seed}")
    classes = len(data.classes)
    model = adapt(sam, method, classes, a.seed, a.head, a.resize, a.tile, a.tile_objects)
    how, every = {option: getattr(a, option) for option in OPTIONS}, a.validate_every
    how["early_stopping"] = EarlyStopping(every, a.patience) if every else None
    check_foreign([out / "learning.png", out / "worst.png"], "fit")
    how |= {"fabric": fabric, "on_event": _listener(_logging(a.log, out), out)}
    result = train(model, data, out=out, progress=not a.quiet, **how)
    if fabric.is_global_zero:
        _draw(result.history, out)
        if not a.quiet:
            print("Scoring the validation images, to draw the worst.", file=sys.stderr)
        _show_worst(result.model, data, a.batch, out)
        _report(result, a, out)


def _open(a: argparse.Namespace, fabric) -> Dataset:
    """The data, looked at by the first process; what `check` would note about them in one line."""
    speaks = fabric.is_global_zero

    def once(look: Callable):
        return fabric.broadcast(look() if speaks else None)

    if speaks and not a.quiet:
        print(f"Reading every image and mask of {a.data}.", file=sys.stderr)
    data = open_data(a.data, groups=a.groups, progress=sys.stderr.isatty(), once=once)
    if speaks and data.notes:
        print(first_note(data.notes, a.data))
    return data


def _listener(log: Callable | None, out: Path) -> Callable[[dict], None]:
    """What gives an event to the log, and now and then draws all events of the run's folder."""
    drawn = time.monotonic()

    def listen(event: dict) -> None:
        nonlocal drawn
        if log:
            log(event)
        if time.monotonic() - drawn > PLOT_SECONDS:
            drawn = time.monotonic()
            lines = (out / "events.jsonl").read_text().splitlines()
            _draw([json.loads(line) for line in lines], out)

    return listen


def _draw(history: list[dict], out: Path) -> None:
    """Write `learning.png`: the loss and the validation Dice over the steps."""
    if history:
        picture = drawing.png(drawing.learning(history, PLOTS), SOFTWARE + "fit")
        write_atomic(out / "learning.png", picture)


def _show_worst(model, data: Dataset, batch: int, out: Path) -> None:
    """Write the validation images of the lowest Dice as `worst.png`, where there are any."""
    if not len(data.val):
        return
    how = None, len(data.classes)
    scores = score(model, data.val, *how, batch=batch, keep_masks=False)
    draw_worst(model, data.val, worst_of(scores, 4), *how, out, "fit")


def _logging(kind: str | None, out: Path) -> Callable[[dict], None] | None:
    """What gives the numbers of every step to one of Fabric's loggers, in a folder of its name.

    A run that goes on begins its next version there. UserError where TensorBoard is missing.
    """
    if kind is None:
        return None
    from lightning_fabric.loggers import CSVLogger, TensorBoardLogger

    try:
        logger = TensorBoardLogger(out, kind) if kind == "tensorboard" else CSVLogger(out, kind)
    except ModuleNotFoundError as error:
        remedy = "run: python -m pip install tensorboard, or take --log csv"
        raise fault("TensorBoard", "is not installed", "it for this log", remedy) from error
    make_folder(out / kind)

    def log(event: dict) -> None:
        numbers = {k: v for k, v in event.items() if isinstance(v, int | float) and k != "step"}
        logger.log_metrics(numbers, event["step"])
        logger.save()

    return log


def _report(result, a: argparse.Namespace, out: Path) -> None:
    """What was found, and the command that scores it."""
    seen = validation_scores(result.history)
    kept = out / ("best.safetensors" if seen else "last.safetensors")
    if seen:
        best = seen.index(max(seen)) + 1
        print(f"Validation Dice: best {max(seen):.3f} (validation {best} of {len(seen)}).")
    if result.genotype:
        result.genotype.save(out / "genotype.json")
        print(f"The operators that the search chose, block by block: {out / 'genotype.json'}")
    words = ["naslora", "evaluate", a.data, str(kept)]
    words += ["--groups", a.groups] if a.groups else []
    words += ["--checkpoint", a.checkpoint] if a.checkpoint else []
    print(f"Loss and validation Dice over the steps: {out / 'learning.png'}")
    print(f"{result.seconds:.0f} s. Next: {shlex.join(words)}")
