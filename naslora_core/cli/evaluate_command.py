"""What `naslora evaluate` does: the scores of a model on one split."""

import argparse
import csv
import io

import numpy as np

from naslora_core.adapters.checkpoint import open_model
from naslora_core.cli import drawing
from naslora_core.cli.command import first_note
from naslora_core.data import Dataset, Sample, open_data, with_classes
from naslora_core.data.image_io import allow_large_pictures
from naslora_core.files import make_folder, write_atomic
from naslora_core.sam import load_sam
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.training.ceilings import grid_of, mean_ceiling
from naslora_core.training.devices import known_device
from naslora_core.training.evaluation import Scores
from naslora_core.training.evaluation import evaluate as score


def evaluate(arguments: argparse.Namespace) -> None:
    """Print the scores of one split; with `out`, keep a row an image and the worst as pictures."""
    a = arguments
    prompt = "box" if a.file in BUILDERS else None
    model = load_sam(a.file, a.checkpoint) if prompt else open_model(a.file, a.checkpoint)
    if not prompt and model.tile:
        allow_large_pictures()
    data = open_data(a.data, groups=a.groups)
    if data.notes:
        print(first_note(data.notes, a.data))
    data = data if prompt else as_trained(data, model)
    samples, out = getattr(data, a.split), make_folder(a.out) if a.out else None
    how = prompt, len(data.classes), a.metrics, a.batch
    scores = score(model.to(known_device(a.device)), samples, *how, keep_masks=False)
    _tell(scores, data, a.split, len(samples))
    grid = grid_of(model)
    print(
        f"{mean_ceiling(samples, grid):>14.3f}  the best IoU that masks of {grid.side} x "
        f"{grid.side} could have (ceiling)"
    )
    order = np.argsort(scores.dice)[: a.worst]
    if len(order):
        print("worst: " + ", ".join(f"{scores.names[i]} {scores.dice[i]:.2f}" for i in order))
    if out:
        write_atomic(out / "scores.csv", _rows(scores))
        print(f"Wrote {out / 'scores.csv'}.")
    if out and len(order):
        write_atomic(out / "worst.png", _worst(model, [samples[int(i)] for i in order], *how[:2]))
        print(f"Wrote {out / 'worst.png'}: the mask in colour, the border of the truth in yellow.")


def as_trained(data: Dataset, model) -> Dataset:
    """The data with their classes numbered as the model numbers those names; UserError for a class
    that it was not trained on."""
    drawn = getattr(model.head, "classes", 1)
    numbered = tuple(f"class {c}" for c in range(1, drawn + 1)) if drawn > 1 else ("object",)
    return with_classes(data, model.class_names or numbered)


def _tell(scores: Scores, data: Dataset, split: str, count: int) -> None:
    print(f"{data.name}, {split}, {count} images; classes: {', '.join(data.classes)}")
    there, classes = len(scores.occurring), len(data.classes)
    some = f", over the {there} of {classes} classes that occur" if 0 < there < classes else ""
    for name, value in scores.mean.items():
        print(f"{name:>12}  {value:.3f}  mean of images{some}")
    for name, value in scores.overall.items():
        more = ", the background a class" if name == "miou" else ""
        print(f"{name:>12}  {value:.3f}  over all pixels{more}")


def _worst(model, samples: list[Sample], prompt: str | None, classes: int) -> bytes:
    """A sheet of images, their masks drawn again, since the scoring keeps none."""
    again = score(model, samples, prompt, classes)
    shown = [
        drawing.outlined(drawing.overlaid(sample.image, mask), sample.mask)
        for sample, mask in zip(samples, again.masks, strict=True)
    ]
    captions = [f"{n}: Dice {d:.2f}" for n, d in zip(again.names, again.dice, strict=True)]
    return drawing.png(drawing.sheet(shown, captions), "naslora evaluate")


def _rows(scores: Scores) -> str:
    """The csv: every image's scores."""
    columns, text = {"dice": scores.dice, "iou": scores.iou} | scores.more, io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", *columns])
    for i, name in enumerate(scores.names):
        rows.writerow([name, *(f"{values[i]:.4f}" for values in columns.values())])
    return text.getvalue()
