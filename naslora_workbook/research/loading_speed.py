"""Images a second that training gets from JPEG files, by workers and size, beside decoding alone.

    python -m naslora_workbook.research.loading_speed --sides 1024 3464 --out build/loading.json

Decoding alone, on one thread, is the limit: what a loader adds is the resize, the augmentation and
the way from process to process. Turns are taken in one run, so that all of them have the same
neighbours; CPU time, of this process and its workers, is the same on a busy machine.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
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


def load(samples: Files, steps: int, augment: str, workers: int) -> None:
    """The batches of a training, taken as soon as they are ready."""
    batches = StepBatches(samples, SIZE, BATCH, 0, augment)
    for _ in batches.load([(i, None) for i in range(steps)], workers):
        pass


def measured(work: Callable, *given, steps: int) -> tuple[float, float]:
    """Images a second, and milliseconds of CPU an image, workers' included."""
    start, spent = time.monotonic(), _cpu_seconds()
    work(*given)
    images = steps * BATCH
    return images / (time.monotonic() - start), 1000 * (_cpu_seconds() - spent) / images


def _cpu_seconds() -> float:
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in each)


def rows(samples: Files, rounds: int, steps: int) -> dict[str, dict]:
    """Medians over turns of decoding, and of loading by augmentation and workers."""
    jobs = {"decoding": (decode, samples, steps)}
    for augment in ("flips", "full"):
        jobs |= {f"{augment} {w}": (load, samples, steps, augment, w) for w in WORKERS}
    turns = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            turns[name].append(measured(*job, steps=steps))
    middle = {name: np.median(found, axis=0) for name, found in turns.items()}
    return {n: {"per_second": round(s, 2), "cpu_ms": round(c, 1)} for n, (s, c) in middle.items()}


def main() -> None:
    """Print the rows of each size, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sides", nargs="+", type=int, default=[1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="batches a turn")
    parser.add_argument("--out", help="a JSON file for `pack`")
    a = parser.parse_args()
    found, before = {}, os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        for side in a.sides:
            files = Files(write_images(Path(folder) / str(side), side, 8))
            # a large picture takes as long as several: fewer of them
            found[side] = rows(files, a.rounds, max(2, a.steps * 1024 // side))
            print(side, json.dumps(found[side], indent=1), flush=True)
    if a.out:
        words = f"--sides {' '.join(map(str, a.sides))} --rounds {a.rounds} --steps {a.steps}"
        made = provenance(f"python -m naslora_workbook.research.loading_speed {words}")
        busy = {"load": [round(before, 1), round(os.getloadavg()[0], 1)], "batch": BATCH}
        record = {"rows": found, "rounds": a.rounds, **busy, "provenance": made}
        write_atomic(a.out, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
