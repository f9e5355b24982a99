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
from naslora_core.errors import UserError, first
from naslora_core.files import make_folder, write_atomic
from naslora_core.training.distributed import known_device
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
    write_atomic(at.with_name(f"{at.name}.png"), png(mask if several else mask * 255, SOFTWARE))
    if a.overlay:
        over = png(overlaid(image, mask), SOFTWARE)
        write_atomic(at.with_name(f"{at.name}_overlay.png"), over)


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
            raise UserError(
                f"{name} is no file and no folder with pictures; expected files ending in "
                f"{', '.join(ENDINGS)}; check the path."
            )
        yield from found


def _apart(files: list[Path], out: Path, overlay: bool) -> None:
    """Two pictures of one name, or a mask over an image or over another's mask, would lose one."""
    names = Counter(f.stem for f in files)
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise UserError(f"Several images are called {twice[0]}; predict them into two folders.")
    taken = sorted(n for n in names if overlay and f"{n}_overlay" in names)
    if taken:
        raise UserError(
            f"The overlay of {taken[0]} would be the mask of {taken[0]}_overlay; predict them into "
            "two folders."
        )
    if any(f.parent.resolve() == out.resolve() for f in files):
        raise UserError(f"{out} holds the images themselves; name another folder with --out.")
    written = [*names, *(f"{n}_overlay" for n in names if overlay)]
    there = (out / f"{name}.png" for name in written)
    foreign = [path.name for path in there if path.exists() and not _ours(path)]
    if foreign:
        raise UserError(
            f"{out} holds {len(foreign)} picture(s) ({first(foreign)}) that predict did not write, "
            "perhaps masks drawn by hand; name another folder with --out, or take them away."
        )


def _ours(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == SOFTWARE
    except Exception:  # on a broken file Pillow raises almost anything
        return False
