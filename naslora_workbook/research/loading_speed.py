"""Images a second that training gets from JPEG files, by workers and size, beside decoding alone.

    python -m naslora_workbook.research.loading_speed --sides 1024 4000 --workers 0 1 2

Decoding alone, on one thread, is the limit: what a loader adds is the resize, the flips and the way
from process to process.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from naslora_core.data import Sample
from naslora_core.training.data_loading import StepBatches

SIZE = 1024  # of the model's square


class Files(Sequence):
    """Samples that are read from their files anew each time."""

    def __init__(self, files: Sequence[Path]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Sample:
        with Image.open(self.files[i]) as file:
            image = np.asarray(file.convert("RGB"))
        return Sample(image, (image[..., 0] > 128).astype(np.uint8), self.files[i].stem)


def write_images(folder: Path, side: int, count: int = 8) -> Files:
    """Smooth random pictures, `side` pixels square."""
    files = []
    for i in range(count):
        rough = np.random.default_rng(i).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        files.append(folder / f"{side}_{i}.jpg")
        Image.fromarray(rough).resize((side, side), Image.Resampling.BICUBIC).save(files[-1])
    return Files(files)


def decoding(samples: Files) -> float:
    """Images a second of decoding alone, in this process."""
    start = time.monotonic()
    for i in range(len(samples)):
        samples[i]
    return len(samples) / (time.monotonic() - start)


def loading(samples: Files, workers: int, augment: str, batch: int = 4, steps: int = 12) -> float:
    """Images a second over `steps` batches, after those that start the workers."""
    every = [(i, None) for i in range(steps + 2)]
    batches = StepBatches(samples, SIZE, batch, 0, augment).load(every, workers)
    next(batches), next(batches)
    start = time.monotonic()
    return sum(len(images) for images, _ in batches) / (time.monotonic() - start)


def main() -> None:
    """Print a row for each size and augmentation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sides", nargs="+", type=int, default=[1024])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for side in a.sides:
            samples = write_images(Path(folder), side)
            for augment in ("flips", "full"):
                rows = {w: round(loading(samples, w, augment), 1) for w in a.workers}
                print(f"{side} {augment}: decoding {decoding(samples):.1f}, by workers {rows}")


if __name__ == "__main__":
    main()
