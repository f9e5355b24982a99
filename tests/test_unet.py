"""The yardstick: a U-Net under the same `fit` and `evaluate`, as large as SAM's decoder."""

import torch
from adapting import random_images, small_sam
from tiny import SIDE, tiny_data

from naslora_core.adapters import DecoderOnly, adapt
from naslora_core.training.evaluation import evaluate
from naslora_core.training.fitting import fit
from naslora_workbook.research.unet import UNet, width_for


def formula(width, classes):
    """Two 3x3 convolutions and two norms a stage; four stages down, three up; one 1x1."""
    widths = [3, width, 2 * width, 4 * width, 8 * width]
    down = [(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
    up = [(a + b, a) for a, b in down[1:]]
    return sum(9 * a * b + 9 * b * b + 4 * b for a, b in down + up) + width * classes + classes


def test_parameters_by_formula_and_as_many_as_the_decoder():
    for width, classes in ((4, 1), (16, 3)):
        assert sum(p.numel() for p in UNet(128, classes, width).parameters()) == formula(
            width, classes
        )
    decoder = sum(p.numel() for p in adapt(small_sam(), DecoderOnly()).trainable().values())
    width = width_for(decoder)
    assert all(
        abs(formula(width, 1) - decoder) <= abs(formula(w, 1) - decoder)
        for w in (width - 4, width + 4)
    )


def test_it_learns_bright_squares_and_a_seed_decides_it():
    data = tiny_data(classes=2)
    models = [UNet(SIDE, 2, width=8, seed=s) for s in (0, 0, 1)]
    with torch.no_grad():
        one, two, other = (m(random_images()).masks for m in models)
    assert torch.equal(one, two) and not torch.equal(one, other)
    result = fit(models[0], data, steps=40, batch=4, lr=1e-2, progress=False)
    assert result.genotype is None and result.history[-1]["loss"] < 0.7 * result.history[0]["loss"]
    assert evaluate(models[0], data.test, classes=2).mean["iou"] > 0.3
