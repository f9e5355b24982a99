"""What tests of the shell's commands share: a folder of images, an adapter's file, a call."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny import squares

from naslora_core.adapters import DecoderOnly, adapt, save_adapter
from naslora_core.sam import load_sam
from naslora_workbook.cli import build_parser


def call(*words) -> None:
    """Run a command as a shell would, its words given apart."""
    arguments = build_parser().parse_args([str(w) for w in words])
    arguments.run(arguments)


def image_folder(root: Path, count: int = 12, classes: int = 1) -> Path:
    """Images of 96 x 64 pixels; masks 0/255, or class numbers of several classes."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for sample in squares(count, size=96, classes=classes):
        mask = sample.mask[:64] * (255 if classes == 1 else 1)
        Image.fromarray(sample.image[:64]).save(root / "images" / f"{sample.name}.png")
        Image.fromarray(mask).save(root / "masks" / f"{sample.name}.png")
    return root


def adapter_file(path: Path, classes: int = 1) -> Path:
    """An adapter of sam_nano that was moved by no training."""
    torch.manual_seed(0)
    save_adapter(adapt(load_sam(), DecoderOnly(), classes), path)
    return path


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)
