"""Boxes, clicks, and the trivial answers of the table, on shapes whose answer is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index

from naslora_core.adapters import LoRA, adapt
from naslora_core.data import Sample
from naslora_core.data.transforms import to_native
from naslora_core.sam import build_nano, load_sam
from naslora_core.training import ceilings, metrics, prompts
from naslora_core.training.prediction import predict_boxed
from naslora_workbook.research import base_table as table
from naslora_workbook.research.pretraining import leg
from naslora_workbook.research.unet import UNet


def square(y=20, x=30, side=24, size=96):
    mask = np.zeros((size, size), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_box_and_click_of_a_square():
    assert prompts.box_of(square()).tolist() == [30, 20, 53, 43]
    x, y = prompts.centre_click(square())
    assert abs(x - 41.5) <= 0.5 and abs(y - 31.5) <= 0.5


def test_prompts_are_drawn_half_precise_half_loose():
    rng, truth = np.random.default_rng(0), square()
    boxes = np.stack([leg.drawn_box(rng, truth) for _ in range(400)])
    clicks = np.stack([leg.drawn_click(rng, truth) for _ in range(400)]).astype(int)
    tight = (boxes == prompts.box_of(truth)).all(1)
    assert 160 < tight.sum() < 240 and np.abs(boxes[~tight] - prompts.box_of(truth)).mean() < 2
    assert truth[clicks[:, 1], clicks[:, 0]].all()
    assert 160 < (clicks == prompts.centre_click(truth)).all(1).sum() < 240


def test_a_correction_click_falls_on_an_error_and_knows_its_side():
    rng, truth = np.random.default_rng(0), square()
    (x, y), label = leg.correction_click(rng, np.zeros_like(truth), truth)
    assert truth[int(y), int(x)] and label == 1
    (x, y), label = leg.correction_click(rng, np.ones_like(truth), truth)
    assert not truth[int(y), int(x)] and label == 0


def test_trivial_answers_on_what_they_fit():
    assert table.iou(table.ellipse(square()), square()) == pytest.approx(np.pi / 4, abs=0.03)
    y, x = np.ogrid[:101, :101]
    disc = np.hypot(y - 50, x - 50) <= 20
    assert table.iou(table.ellipse(disc), disc) > 0.95
    assert table.discs(disc).max() > 0.9


def test_discs_equal_discs_that_are_drawn():
    mask = square(size=80)
    cx, cy = prompts.centre_click(mask)
    y, x = np.ogrid[:80, :80]
    drawn = [table.iou(np.hypot(y - cy, x - cx) <= r * 80, mask) for r in table.RADII]
    assert np.allclose(table.discs(mask), drawn)


def line(width=2):
    thin = np.zeros((512, 512), bool)
    thin[:, 200 : 200 + width] = True
    return thin


def test_a_shrunk_mask_keeps_large_things_and_loses_thin_ones():
    assert ceilings.shrunk_iou(square(), 64) > 0.98
    assert ceilings.shrunk_iou(line(), 64) < 0.5
    bar = np.zeros((512, 96), bool)
    bar[:, 40:44] = True  # a third of a pixel of 64 along the longer side, 2.7 of a squeezed 64
    assert ceilings.shrunk_iou(bar, 64) < 0.8 < 0.95 < ceilings.shrunk_iou(bar, 64, square=True)
    assert ceilings.shrunk_iou(square(), 32, True) == ceilings.shrunk_iou(square(), 32)


@pytest.mark.parametrize("resize", ["square", "pad"])
@pytest.mark.parametrize("shape", [(200, 240), (96, 250)])
def test_the_ceiling_finds_what_logits_of_its_grid_have_drawn(shape, resize):
    """Whatever a decoder draws, the ceiling of that mask as truth is nearly 1."""
    grid = ceilings.Grid(16, 128, resize)
    low = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    logits = F.interpolate(low, (128, 128), mode="bilinear", align_corners=False)
    drawn = (to_native(logits, shape, resize)[0, 0] > 0).numpy()
    assert ceilings.ceiling(drawn, grid) >= 0.98 > ceilings.shrunk_iou(drawn, 16) + 0.05


@pytest.mark.parametrize("width", [1, 2, 9])
def test_no_mask_through_the_grid_passes_the_ceiling(width):
    """The best of lines drawn by logits that are as sharp as can be, wherever they stand."""
    truth, grid = line(width), ceilings.Grid(64, 128)
    bound = ceilings.ceiling(truth, grid)
    A = ceilings.enlarging(grid, 128, 512)
    for column in range(20, 30):
        for edge in (0.02, 0.2, 1.0, 5.0):
            low = -edge * torch.ones(64, 64)
            low[:, column] = 1
            assert table.iou((A @ low @ A.T > 0).numpy(), truth) <= bound + 0.005
    assert ceilings.shrunk_iou(truth, 64) <= bound


def test_a_boxed_base_stays_below_the_ceiling_of_thin_cracks():
    rng, sam = np.random.default_rng(0), load_sam()
    y, x = np.mgrid[:320, :480]
    crack = np.abs(y - 160 - 60 * np.sin(x / 40) - 8 * np.sin(x / 7)) < 1.2
    image = np.where(crack[..., None], 60, rng.integers(120, 160, (320, 480, 3))).astype(np.uint8)
    found = predict_boxed(sam, [Sample(image, crack.astype(np.uint8), "crack")])[0] > 0
    assert metrics.iou(found, crack) <= ceilings.ceiling(crack, ceilings.grid_of(sam))


def test_an_empty_mask_has_a_ceiling_of_one():
    grid = ceilings.Grid(64, 128)
    assert ceilings.mean_ceiling([], grid) == ceilings.ceiling(np.zeros((9, 9), bool), grid) == 1


def test_whoever_draws_has_masks_of_its_own_size_and_shape():
    sam = build_nano()
    assert ceilings.grid_of(sam)[:3] == (64, 128, "pad")
    assert ceilings.grid_of(adapt(sam, LoRA(2)))[:3] == (64, 128, "square")
    assert ceilings.grid_of(adapt(sam, LoRA(2), resize="pad"))[:3] == (64, 128, "pad")
    assert ceilings.grid_of(UNet(128, width=4))[:3] == (128, 128, "square")


def test_score_of_a_random_model_is_poor_and_complete():
    torch.manual_seed(0)
    row = table.score(build_nano().eval(), table.scene_cases(3))
    assert set(row) == {"objects", "box", "ellipse", "click", "click_best_of_3", "ceiling", "disc"}
    assert row["box"] < row["ellipse"] < row["ceiling"] <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_iou_and_dice_equal_torchmetrics(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 9, 7)) < rng.random()
    if not (a | b).any():
        assert metrics.iou(a, b) == metrics.dice(a, b) == 1.0
        return
    t = torch.from_numpy(a), torch.from_numpy(b)
    assert metrics.iou(a, b) == pytest.approx(binary_jaccard_index(*t).item(), abs=1e-6)
    assert metrics.dice(a, b) == pytest.approx(binary_f1_score(*t).item(), abs=1e-6)
