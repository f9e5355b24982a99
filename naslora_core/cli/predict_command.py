"""What `naslora predict` does: masks of pictures, as PNG."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from naslora_core.adapters.checkpoint import open_model
from naslora_core.cli.drawing import overlaid, png
from naslora_core.data.image_io import ENDINGS, allow_large_pictures, read_image
from naslora_core.errors import UserError, fault, first, some
from naslora_core.files import make_folder, write_atomic
from naslora_core.training.devices import known_device
from naslora_core.training.prediction import predict_image

SOFTWARE = "naslora_core predict"  # what our PNGs say of themselves: they alone are replaced


def predict(arguments: argparse.Namespace) -> None:
    """Write a mask of every image at its own size: 0/255, or class numbers of several classes.

    A picture that cannot be read is left out and told at the end, by a UserError.
    """
    a = arguments
    files, out = list(pictures(a.images)), Path(a.out)
    _apart(files, out, a.overlay)
    model = open_model(a.file, a.checkpoint).to(known_device(a.device))
    if model.tile:
        allow_large_pictures()
    make_folder(out)
    faults = []
    for file in tqdm(files, disable=len(files) < 10 or not sys.stderr.isatty()):
        try:
            image = read_image(file)
        except UserError as error:
            faults.append(error)
            continue
        _write(model, image, out / file.stem, a)
    print(f"Wrote {len(files) - len(faults)} mask(s) into {out}.{_meaning(model)}")
    if faults:
        raise UserError(
            f"{len(faults)} of {len(files)} picture(s) could not be read and have no mask: "
            f"{' '.join(map(str, faults[:3]))}"
        )


def _write(model, image: np.ndarray, at: Path, a: argparse.Namespace) -> None:
    mask = predict_image(model, image, box=a.box, click=a.click)
    several = getattr(model.head, "classes", 1) > 1
    _save(mask if several else mask * 255, at.with_name(f"{at.name}.png"))
    if a.overlay:
        _save(overlaid(image, mask), at.with_name(f"{at.name}_overlay.png"))


def _save(picture: np.ndarray, path: Path) -> None:
    write_atomic(path, png(picture, SOFTWARE))


def _meaning(model) -> str:
    """Of several classes, which number means what, and why the masks look black."""
    classes = getattr(model.head, "classes", 1)
    if classes == 1:
        return ""
    names = model.class_names or [f"class {c}" for c in range(1, classes + 1)]
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))
    return (
        f" Their values are class numbers (0 background, {numbers}), which look black on a screen; "
        "--overlay draws them in colour."
    )


def pictures(names: list[str]) -> Iterator[Path]:
    """The files that are named, whatever their ending, and the pictures in folders that are named;
    UserError where there is none."""
    for name in names:
        path = Path(name)
        found = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
        if path.is_dir():
            found = [f for f in found if f.suffix.lower() in ENDINGS and f.name[0] != "."]
        if not found:
            expected = f"files ending in {', '.join(ENDINGS)}"
            raise fault(name, "is no file and no folder with pictures", expected, "check the path")
        yield from found


def _apart(files: list[Path], out: Path, overlay: bool) -> None:
    """Two pictures of one name, or a mask over an image or over another's mask, would lose one."""
    written = Counter(f.stem for f in files)
    if overlay:
        written.update(f"{f.stem}_overlay" for f in files)
    if twice := sorted(name for name, count in written.items() if count > 1):
        given = f"of {first(twice)} would be written twice"
        raise fault("The mask or overlay", given, "other names", "predict them into two folders")
    if any(f.parent.resolve() == out.resolve() for f in files):
        remedy = "name another folder with --out"
        raise fault(out, "holds the images themselves", "a folder for masks", remedy)
    there = (out / f"{name}.png" for name in written)
    if foreign := [path.name for path in there if path.exists() and not _ours(path)]:
        given = f"holds {some(foreign, 'picture')} that predict did not write"
        remedy = "name another folder with --out, or take them away"
        raise fault(out, given, "none, for they may be drawn by hand", remedy)


def _ours(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == SOFTWARE
    except Exception:  # on a broken file Pillow raises almost anything
        return False
