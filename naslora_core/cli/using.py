"""What a trained model is used for by the shell: `evaluate`, `predict` and `export`."""

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from naslora_core.adapters import Adapted
from naslora_core.adapters.checkpoint import open_model
from naslora_core.adapters.folding import FORMAT, fold
from naslora_core.adapters.onnx_export import difference, export_onnx
from naslora_core.cli import drawing
from naslora_core.cli.command import first_note
from naslora_core.data import Dataset, open_data, with_classes
from naslora_core.data.image_io import ENDINGS, allow_large_pictures, read_image
from naslora_core.errors import UserError, fault, first, some
from naslora_core.files import make_folder, read, writable, write_atomic
from naslora_core.sam import Segmenter, load_sam
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.training.ceilings import grid_of, mean_ceiling
from naslora_core.training.devices import known_device
from naslora_core.training.evaluation import Scores
from naslora_core.training.evaluation import evaluate as score
from naslora_core.training.prediction import predict_image

SOFTWARE = "naslora "  # and a command: what our PNGs say of themselves
OURS = (b"Software\0naslora", b"image,dice,iou", FORMAT.encode())  # in what may be replaced
START = 4096  # bytes of a file that say who wrote it
FORMATS = (".pth", ".safetensors", ".onnx")  # of export


def evaluate(a: argparse.Namespace) -> None:
    """Print the scores of one split; with `out`, keep a row an image and the worst as pictures."""
    prompt = "box" if a.file in BUILDERS else None
    model = load_sam(a.file, a.checkpoint) if prompt else open_model(a.file, a.checkpoint)
    allow_large_pictures(None if prompt else model.tile)
    data = open_data(a.data, groups=a.groups)
    if data.notes:
        print(first_note(data.notes, a.data))
    data = data if prompt else with_classes(data, classes_of(model))
    samples, out = getattr(data, a.split), make_folder(a.out) if a.out else None
    if out:
        check_foreign([out / "scores.csv", out / "worst.png"], "evaluate")
    how = prompt, len(data.classes), a.metrics, a.batch
    scores = score(model.to(known_device(a.device)), samples, *how, keep_masks=False)
    _tell(scores, data, a.split, len(samples))
    grid = grid_of(model)
    print(
        f"{mean_ceiling(samples, grid):>14.3f}  the best IoU that masks of {grid.side} x "
        f"{grid.side} could have (ceiling)"
    )
    names = worst_of(scores, a.worst)
    if names:
        print("worst: " + ", ".join(names.values()))
    if out:
        write_atomic(out / "scores.csv", _rows(scores))
        print(f"Wrote {out / 'scores.csv'}.")
        draw_worst(model, samples, names, *how[:2], out, "evaluate")


def worst_of(scores: Scores, count: int) -> dict[int, str]:
    """The images of the lowest Dice, worst first: number -> name and Dice."""
    order = np.argsort(scores.dice)[:count].tolist()
    return {i: f"{scores.names[i]} {scores.dice[i]:.2f}" for i in order}


def draw_worst(model, samples, worst: dict, prompt, classes: int, out: Path, by: str) -> None:
    """Write `worst.png`: samples by number under the model's masks, drawn once more, captioned."""
    if not worst:
        return
    part = [samples[i] for i in worst]
    pairs = zip(part, score(model, part, prompt, classes).masks, strict=True)
    shown = [drawing.outlined(drawing.overlaid(s.image, mask), s.mask) for s, mask in pairs]
    picture = drawing.png(drawing.sheet(shown, [*worst.values()]), SOFTWARE + by)
    write_atomic(out / "worst.png", picture)
    print(f"Wrote {out / 'worst.png'}: the mask in colour, the border of the truth in yellow.")


def classes_of(model) -> tuple[str, ...]:
    """The names of what a model draws, or numbers where it knows none."""
    count = getattr(model.head, "classes", 1)
    numbered = tuple(f"class {c}" for c in range(1, count + 1)) if count > 1 else ("object",)
    return model.class_names or numbered


def _tell(scores: Scores, data: Dataset, split: str, count: int) -> None:
    print(f"{data.name}, {split}, {count} images; classes: {', '.join(data.classes)}")
    there, classes = len(scores.occurring), len(data.classes)
    few = f", over the {there} of {classes} classes that occur" if 0 < there < classes else ""
    for name, value in scores.mean.items():
        print(f"{name:>12}  {value:.3f}  mean of images{few}")
    for name, value in scores.overall.items():
        more = ", the background a class" if name == "miou" else ""
        print(f"{name:>12}  {value:.3f}  over all pixels{more}")


def _rows(scores: Scores) -> str:
    """The csv: every image's scores."""
    columns, text = {"dice": scores.dice, "iou": scores.iou} | scores.more, io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", *columns])
    for name, *values in zip(scores.names, *columns.values(), strict=True):
        rows.writerow([name, *(f"{value:.4f}" for value in values)])
    return text.getvalue()


def predict(a: argparse.Namespace) -> None:
    """Write a mask of every image at its own size: 0/255, or class numbers of several classes.

    A picture that cannot be read is left out and told at the end, by a UserError.
    """
    files, out, faults = list(_pictures(a.images)), Path(a.out), []
    _check_places(files, out, a.overlay)
    model = open_model(a.file, a.checkpoint).to(known_device(a.device))
    allow_large_pictures(model.tile)
    make_folder(out)
    several = len(classes_of(model)) > 1
    for file in tqdm(files, disable=len(files) < 10 or not sys.stderr.isatty()):
        try:
            image = read_image(file)
        except UserError as error:
            faults.append(error)
            continue
        mask = predict_image(model, image, box=a.box, click=a.click)
        drawn = {".png": mask if several else mask * 255}
        drawn |= {"_overlay.png": drawing.overlaid(image, mask)} if a.overlay else {}
        for ending, picture in drawn.items():
            write_atomic(out / f"{file.stem}{ending}", drawing.png(picture, SOFTWARE + "predict"))
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(classes_of(model), 1))
    meaning = (
        f" Their values are class numbers (0 background, {numbers}), which look black on a screen; "
        "--overlay draws them in colour."
    )
    what = "mask(s), each with an overlay," if a.overlay else "mask(s)"
    print(f"Wrote {len(files) - len(faults)} {what} into {out}.{meaning if several else ''}")
    if faults:
        raise UserError(
            f"{len(faults)} of {len(files)} picture(s) could not be read and have no mask: "
            f"{' '.join(map(str, faults[:3]))}"
        )


def _pictures(names: list[str]) -> Iterator[Path]:
    """The files that are named, whatever their ending, and the pictures in folders; or a fault."""
    for name in names:
        path = Path(name)
        found = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
        if path.is_dir():
            found = [f for f in found if f.suffix.lower() in ENDINGS and f.name[0] != "."]
        if not found:
            expected = f"files ending in {', '.join(ENDINGS)}"
            raise fault(name, "is no file and no folder with pictures", expected, "check the path")
        yield from found


def _check_places(files: list[Path], out: Path, overlay: bool) -> None:
    """Two pictures of one name, or a mask over an image or over another's mask, would lose one."""
    written = Counter(f.stem for f in files)
    written.update(f"{f.stem}_overlay" for f in files if overlay)
    if twice := sorted(name for name, count in written.items() if count > 1):
        given = f"of {first(twice)} would be written twice"
        raise fault("The mask or overlay", given, "other names", "predict them into two folders")
    if any(f.parent.resolve() == out.resolve() for f in files):
        remedy = "name another folder with --out"
        raise fault(out, "holds the images themselves", "a folder for masks", remedy)
    check_foreign([out / f"{name}.png" for name in written], "predict")


def check_foreign(files: list[Path], by: str) -> None:
    """UserError where a file that will be written is there and is not ours."""
    there = [file for file in files if file.exists()]
    starts = [b"" if file.is_dir() else read(file)[:START] for file in there]
    foreign = [f.name for f, x in zip(there, starts, strict=True) if not any(o in x for o in OURS)]
    if foreign:
        given = f"holds {some(foreign, 'file')} that {by} did not write"
        raise fault(files[0].parent, given, "none, or its own", "name another place")


def export(a: argparse.Namespace) -> None:
    """Fold an adapter, write `out` in the format of its ending, and print what was done."""
    out, file = Path(a.out), Path(a.file)
    _check_free(out, file)
    model = open_model(file, a.checkpoint)
    if isinstance(model, Adapted):
        folded = fold(model)
        print(folded.report)
        folded.save(out)
        model = folded.model
    elif out.suffix == ".onnx":
        export_onnx(model, out)
    else:
        raise fault(file, "is folded already", "an adapter", "name an .onnx file to write")
    print(f"Wrote {out}, {out.stat().st_size / 2**20:.1f} MB.")
    if out.suffix == ".onnx":
        print(f"Largest difference of onnxruntime from PyTorch: {difference(model, out):.1e}.")
    print(_how_to_feed(model, out), end="")


def _check_free(out: Path, file: Path) -> None:
    """UserError where nothing can be written, or something would be lost."""
    if out.suffix not in FORMATS:
        raise UserError(f"{out.name} has no known ending; use {', '.join(FORMATS)}.")
    if out.resolve() == file.resolve():
        raise UserError(f"{out} is the file to export, and would be lost; name another to write.")
    check_foreign([writable(out)], "export")


def _how_to_feed(model: Segmenter, out: Path) -> str:
    """What a program must do to an image before this file's encoder sees it."""
    side = model.image_size
    if model.tile:
        return f"Trained on pieces of {model.tile} pixels: cut images so, then resize to {side}.\n"
    if out.suffix == ".safetensors" or model.resize == "pad":
        return ""
    pads = "SamPredictor" if out.suffix == ".pth" else "segment_anything"
    return (
        f"Trained on images squeezed to {side} x {side}; {pads} keeps their shape and pads them, "
        "so masks of images that are not square differ. Squeeze them to a square first, or train "
        "with --resize pad.\n"
    )
