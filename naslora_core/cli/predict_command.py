"""What `python -m naslora_core predict` does: masks of pictures, as PNG."""

import argparse
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from naslora_core.adapters.checkpoint import open_model
from naslora_core.cli.evaluate_command import drawing, model_classes
from naslora_core.data import Sample
from naslora_core.data.from_folder import ENDINGS
from naslora_core.data.image_io import read_image
from naslora_core.data.splits import some
from naslora_core.errors import UserError
from naslora_core.files import make_folder, write_atomic
from naslora_core.training.distributed import known_device
from naslora_core.training.prediction import predict_one

SOFTWARE = "naslora_core predict"  # what our PNGs say of themselves: they alone are replaced


def predict(arguments: argparse.Namespace) -> None:
    """Write a mask of every image at its own size: 0/255, or class numbers of several classes."""
    a = arguments
    files, out = list(pictures(a.images)), Path(a.out)
    _apart(files, out, a.overlay)
    if a.overlay:
        drawing()
    model = open_model(a.file, a.checkpoint).to(known_device(a.device))
    many = model_classes(model) > 1
    make_folder(out)
    for file in _shown(files):
        image = read_image(file)
        sample = Sample(image, np.zeros(image.shape[:2], np.uint8), file.stem)
        mask = predict_one(model, sample, box=a.box, click=a.click)
        _write(out / f"{file.stem}.png", mask if many else mask * 255)
        if a.overlay:
            _write(out / f"{file.stem}_overlay.png", overlaid(image, mask))
    print(f"Wrote {len(files)} mask(s) into {out}.")


def pictures(names: list[str]) -> Iterator[Path]:
    """The picture files that are named, and those of folders that are named."""
    for name in names:
        path = Path(name)
        found = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
        found = [f for f in found if f.suffix.lower() in ENDINGS and not f.name.startswith(".")]
        if not found:
            raise UserError(
                f"{name} is no picture and no folder of pictures; expected files ending in "
                f"{', '.join(ENDINGS)}."
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
    _free(out, [*names, *(f"{n}_overlay" for n in names if overlay)])


def _free(out: Path, names: list[str]) -> None:
    """UserError where a picture is there that an earlier `predict` has not written as it is."""
    there = (out / f"{name}.png" for name in names)
    foreign = [path.name for path in there if path.exists() and not _ours(path)]
    if foreign:
        raise UserError(
            f"{out} holds {some(foreign, 'picture')} that predict did not write, perhaps masks "
            "drawn by hand; name another folder with --out, or take them away."
        )


def _ours(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == SOFTWARE
    except Exception:  # on a broken file Pillow raises almost anything
        return False


def _shown(files: list[Path]):
    from tqdm.auto import tqdm

    return tqdm(files, disable=len(files) < 10)


def overlaid(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with its mask in colour, uint8 `H W 3`.

    By a table of what each value becomes under a class, which takes few bytes a pixel.
    """
    tints = drawing().tint(np.arange(int(mask.max()) + 1))
    values, over = np.arange(256.0), image.copy()
    for label, (*colour, share) in enumerate(tints[1:], 1):
        at = mask == label
        for channel, light in enumerate(colour):
            table = (values * (1 - share) + 255 * light * share).round().astype(np.uint8)
            mixed = image[..., channel][at].tobytes().translate(table.tobytes())
            over[..., channel][at] = np.frombuffer(mixed, np.uint8)
    return over


def _write(path: Path, values: np.ndarray) -> None:
    buffer, said = io.BytesIO(), PngInfo()
    said.add_text("Software", SOFTWARE)
    Image.fromarray(values).save(buffer, "PNG", pnginfo=said)
    write_atomic(path, buffer.getvalue())
