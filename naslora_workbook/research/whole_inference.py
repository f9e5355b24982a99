"""Throughput of whole ViT-B encoders at 1024 pixels: folded, with the fused attention, and vanilla.

    python -m naslora_core measure inference --device cuda

All take turns in one run. Random weights in the official layout: no number hangs on what they are.
"""

from functools import partial

import torch
from segment_anything import build_sam_vit_b
from torch import nn

from naslora_core.adapters.method import frozen_twin
from naslora_core.sam import fuse
from naslora_workbook.research.benchmark import infer, interleaved, summary
from naslora_workbook.research.folded_cost import FOLDED, VANILLA, folded
from naslora_workbook.research.planned_step import autocast

KINDS = ("pointwise", "5x5 beside")  # the cheapest and the dearest fold beside the map


def measure_inference(
    precision: str, rounds: int, device: str, batch: int = 4, encoder: nn.Module | None = None
) -> dict[str, dict]:
    """A row an encoder: milliseconds of a batch, its ratio to vanilla paired by turn, images/s.

    encoder: another than ViT-B's, for tests.
    """
    encoder = (encoder or build_sam_vit_b().image_encoder).eval().requires_grad_(False).to(device)
    encoders = {VANILLA: encoder, "fused attention": fuse(frozen_twin(encoder))}
    encoders |= {f"{k}, fused attention": fuse(folded(encoder, FOLDED[k])[0]) for k in KINDS}
    side = encoder.img_size
    images = torch.randn(batch, 3, side, side, device=device)

    def forward(module: nn.Module) -> None:
        with autocast(precision, device):
            infer(module, images)

    times = interleaved({n: partial(forward, m) for n, m in encoders.items()}, rounds, device)
    rows = {name: summary(times[name], times[VANILLA]) for name in encoders}
    return {n: row | {"images_per_second": round(1000 * batch / row["ms"], 2)}
            for n, row in rows.items()}  # fmt: skip
