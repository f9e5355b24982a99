"""What `python -m naslora_core evaluate` does: the scores of a model on one split."""

import argparse
import csv
import io
from pathlib import Path
from types import ModuleType

import numpy as np

from naslora_core.adapters.checkpoint import open_model
from naslora_core.data import open_data
from naslora_core.errors import UserError
from naslora_core.files import make_folder, write_atomic
from naslora_core.sam import load_sam
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.training.ceilings import grid_of, mean_ceiling
from naslora_core.training.distributed import known_device
from naslora_core.training.evaluation import Scores
from naslora_core.training.evaluation import evaluate as score
from naslora_workbook.lessons.profiles import profile


def evaluate(arguments: argparse.Namespace) -> None:
    """Print the scores of one split; with `out`, keep a row an image and the worst as pictures."""
    a = arguments
    data = open_data(a.data, profile("laptop"), groups=a.groups)
    samples, prompt = getattr(data, a.split), "box" if a.file in BUILDERS else None
    model = load_sam(a.file, a.checkpoint) if prompt else open_model(a.file, a.checkpoint)
    classes = len(data.classes) if prompt else _classes(model, data)
    out = make_folder(a.out) if a.out else None
    scores = score(model.to(known_device(a.device)), samples, prompt, classes, a.metrics, a.batch)
    grid = grid_of(model)
    print(f"{data.name}, {a.split}, {len(samples)} images; ceiling of {grid.side} x {grid.side} "
          f"masks: IoU {mean_ceiling(samples, grid):.3f}")  # fmt: skip
    _tell(scores, classes)
    order = np.argsort(scores.dice)[: a.worst]
    if len(order):
        print("worst: " + ", ".join(f"{scores.names[i]} {scores.dice[i]:.2f}" for i in order))
    if out:
        _keep(scores, samples, order, out)


def drawing() -> ModuleType:
    """`figures.masks`; UserError with the remedy where its packages are not installed."""
    try:
        from naslora_workbook.figures import masks
    except ImportError as error:
        package = (error.name or "matplotlib").split(".")[0]
        raise UserError(
            f"{package} draws, and is not installed; python -m pip install {package}."
        ) from error
    return masks


def model_classes(model) -> int:
    """Foreground classes that a Segmenter draws."""
    return getattr(model.head, "classes", 1)


def _classes(model, data) -> int:
    """How many classes are scored: the model's; UserError where the data's are others."""
    asked, drawn = len(data.classes), model_classes(model)
    if asked > drawn or (asked == 1 and drawn > 1):
        raise UserError(
            f"{data.name} has {asked} foreground class(es), the model draws {drawn}; expected the "
            f"classes that it was trained on; evaluate it on data with those, or fit a model on "
            f"{data.name}."
        )
    return drawn


def _tell(scores: Scores, classes: int) -> None:
    there = len(scores.occurring)
    some = f", over the {there} of {classes} classes that occur" if 0 < there < classes else ""
    for name, value in scores.mean.items():
        print(f"{name:>12}  {value:.3f}  mean of images{some}")
    for name, value in scores.overall.items():
        more = ", the background a class" if name == "miou" else ""
        print(f"{name:>12}  {value:.3f}  over all pixels{more}")


def _keep(scores: Scores, samples, order: np.ndarray, out: Path) -> None:
    """Write the rows, then the picture, where there is one to draw and what draws it."""
    write_atomic(out / "scores.csv", _rows(scores))
    if not len(order):
        print(f"Wrote {out / 'scores.csv'}.")
        return
    try:
        show_masks = drawing().show_masks
    except UserError as error:
        print(f"Wrote {out / 'scores.csv'}, and no worst.png: {error}")
        return
    some = [samples[int(i)] for i in order]
    picture = show_masks(
        [s.image for s in some], [scores.masks[i] for i in order], [s.mask for s in some],
        [scores.dice[i] for i in order], title=f"The {len(some)} lowest of {len(samples)} images",
    )  # fmt: skip
    picture.save(out / "worst.png")
    print(f"Wrote {out / 'scores.csv'} and {out / 'worst.png'}.")


def _rows(scores: Scores) -> str:
    """The csv: every image's scores."""
    columns, text = {"dice": scores.dice, "iou": scores.iou} | scores.more, io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", *columns])
    for i, name in enumerate(scores.names):
        rows.writerow([name, *(f"{values[i]:.4f}" for values in columns.values())])
    return text.getvalue()
