"""Which input for `sam_nano`: 128 pixels in patches of 8, or 256 in patches of 16?

    python -m naslora_workbook.research.resolution

Both have 16 x 16 tokens and 64 x 64 masks. Measured side by side, in turn: drawing a scene,
encoding it, a training step of the encoder; and how much of an object's outline survives.
"""

import json
import statistics
from collections.abc import Callable

import torch

from naslora_core.files import write_atomic
from naslora_core.sam.sam_nano import build_nano
from naslora_core.training.ceiling import ceiling, scene_cases
from naslora_workbook.research.benchmark import interleaved
from naslora_workbook.research.compare import RECORDED
from naslora_workbook.research.pretraining.scenes import scene
from naslora_workbook.research.provenance import provenance

SIZES, ROUNDS, BATCH = {128: 8, 256: 16}, 9, 8


def measure() -> dict[str, dict[str, float]]:
    """Median milliseconds an image for each size, interleaved, and the mean ceiling of scenes."""
    sizes = SIZES.items()
    work = {(s, n): call for s, patch in sizes for n, call in _work(s, patch).items()}
    times = interleaved(work, ROUNDS)
    return {str(s): _row(s, {n: t for (of, n), t in times.items() if of == s}) for s in SIZES}


def _row(size: int, times: dict[str, list[float]]) -> dict[str, float]:
    row = {f"{name}_ms": round(statistics.median(t) / BATCH, 2) for name, t in times.items()}
    masks = [m for case in scene_cases(40, size=size) for m in case.objects]
    return row | {"ceiling_iou": round(statistics.mean(ceiling(m, 64) for m in masks), 4)}


def _work(size: int, patch: int) -> dict[str, Callable[[], object]]:
    encoder, images = build_nano(size, patch).image_encoder, torch.randn(BATCH, 3, size, size)

    def draw():
        return [scene(31, i, size) for i in range(BATCH)]

    def encode():
        with torch.no_grad():
            return encoder(images)

    def train():
        encoder.zero_grad()
        encoder(images).square().mean().backward()

    return {"draw": draw, "encode": encode, "train": train}


if __name__ == "__main__":
    result = {
        "rows": measure(),
        "provenance": provenance("python -m naslora_workbook.research.resolution"),
    }
    write_atomic(RECORDED / "resolution.json", json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["rows"], indent=1))
