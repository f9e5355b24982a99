"""Images a second that training gets from JPEG files, by workers and size, beside decoding alone.

    python -m naslora_workbook.research.loading_speed --sides 1024 3464 --out build/loading.json

Decoding alone, on one thread, is the limit. Turns are taken in one run, so that all have the same
neighbours; CPU time, of this process and its workers, is the same on a busy machine.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from naslora_core.data import Sample
from naslora_core.files import write_atomic
from naslora_core.training.data_loading import StepBatches
from naslora_workbook.research.benchmarks.gpu_steps import write_images
from naslora_workbook.research.provenance import provenance

SIZE = 1024  # of the model's square
BATCH, WORKERS = 4, (0, 1, 2)


class Files(list):
    """Paths of JPEGs, given as samples that are read from their files anew each time."""

    def __getitem__(self, i: int) -> Sample:
        path = super().__getitem__(i)
        image = np.asarray(Image.open(path).convert("RGB"))
        return Sample(image, (image[..., 0] > 128).astype(np.uint8), path.stem)


def decode(samples: Files, steps: int) -> None:
    """Decode as many images as `steps` batches have."""
    for i in range(steps * BATCH):
        samples[i % len(samples)]


def load(samples: Files, augment: str, workers: int, steps: int) -> None:
    """The batches of a training, taken as soon as they are ready."""
    batches = StepBatches(samples, SIZE, BATCH, 0, augment)
    for _ in batches.load([(i, None) for i in range(steps)], workers):
        pass


def measured(work: Callable, steps: int) -> tuple[float, float]:
    """Images a second, and milliseconds of CPU an image, workers' included."""
    start, before = time.monotonic(), os.times()
    work(steps=steps)
    images = steps * BATCH
    spent = sum(os.times()[:4]) - sum(before[:4])  # user and system, own and children's
    return images / (time.monotonic() - start), 1000 * spent / images


def rows(samples: Files, rounds: int, steps: int) -> dict[str, dict]:
    """Medians over turns of decoding, and of loading by augmentation and workers."""
    jobs = {"decoding": partial(decode, samples)}
    ways = [(augment, workers) for augment in ("flips", "full") for workers in WORKERS]
    jobs |= {f"{augment} {w}": partial(load, samples, augment, w) for augment, w in ways}
    turns = [[measured(job, steps) for job in jobs.values()] for _ in range(rounds)]
    middle = zip(jobs, np.median(turns, axis=0).tolist(), strict=True)
    return {n: {"per_second": round(s, 2), "cpu_ms": round(c, 1)} for n, (s, c) in middle}


def main() -> None:
    """Print the rows of each size, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sides", nargs="+", type=int, default=[1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="batches a turn")
    parser.add_argument("--out", help="a JSON file for `pack`")
    a = parser.parse_args()
    found, busy = {}, [round(os.getloadavg()[0], 1)]
    with tempfile.TemporaryDirectory() as folder:
        for side in a.sides:
            files = Files(write_images(Path(folder) / str(side), side, 8))
            # a large picture takes as long as several: fewer of them
            found[side] = rows(files, a.rounds, max(2, a.steps * 1024 // side))
            print(side, found[side], flush=True)
    busy.append(round(os.getloadavg()[0], 1))
    if a.out:
        words = " ".join(sys.argv[1:])
        made = provenance(f"python -m naslora_workbook.research.loading_speed {words}")
        record = {"rows": found, "rounds": a.rounds, "load": busy, "batch": BATCH}
        write_atomic(a.out, json.dumps(record | {"provenance": made}, indent=1) + "\n")


if __name__ == "__main__":
    main()
