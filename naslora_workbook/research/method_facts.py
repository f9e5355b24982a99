"""What a method is, without timing it: how large, whether it starts as the base, what folds."""

import torch

from naslora_core.adapters import METHODS, adapt, fold
from naslora_core.sam import Segmenter, build_nano
from naslora_core.sam.checkpoints import BUILDERS


def facts(name: str) -> dict:
    """Parameters in the encoder of every model, largest difference at the start, what folds."""
    sam = build_nano().eval().requires_grad_(False)
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        model = adapt(sam, METHODS[name])
        apart = (model(images).low_res - Segmenter(sam)(images).low_res).abs().max()
        g = torch.Generator().manual_seed(1)
        for p in model.trainable().values():  # as after a training: at the start much is zero
            p.add_(0.01 * torch.randn(p.shape, generator=g))
    folded = fold(model)
    return {
        "parameters": {size: parameters(size, name) for size in BUILDERS},
        "start_difference": float(apart),
        "folds": folds(folded.report, folded.vanilla),
    }


def folds(report, vanilla: bool) -> str:
    """Where the adapter goes: "everything", "centre tap" or "nothing", and why not all."""
    if vanilla:
        return "everything"
    worst = max(
        report.rows, key=lambda row: ("everything", "centre tap", "nothing").index(row.folded)
    )
    return f"{worst.folded}: {worst.why}"


def parameters(size: str, name: str) -> int:
    """Trained parameters in the encoder of a model, counted on the meta device."""
    with torch.device("meta"):
        sam = BUILDERS[size]()
    trained = adapt(sam, METHODS[name]).trainable().items()
    return sum(p.numel() for n, p in trained if n.startswith("sam.image_encoder"))
