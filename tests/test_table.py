"""Boxes, clicks, and the trivial answers of the table, on shapes whose answer is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index

from naslora_core.adapters import LoRA, adapt
from naslora_core.sam import build_nano
from naslora_core.training import ceiling as table
from naslora_core.training import metrics, prompts
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
    boxes = np.stack([prompts.drawn_box(rng, truth) for _ in range(400)])
    clicks = np.stack([prompts.drawn_click(rng, truth) for _ in range(400)]).astype(int)
    tight = (boxes == prompts.box_of(truth)).all(1)
    assert 160 < tight.sum() < 240 and np.abs(boxes[~tight] - prompts.box_of(truth)).mean() < 2
    assert truth[clicks[:, 1], clicks[:, 0]].all()
    assert 160 < (clicks == prompts.centre_click(truth)).all(1).sum() < 240


def test_a_correction_click_falls_on_an_error_and_knows_its_side():
    rng, truth = np.random.default_rng(0), square()
    (x, y), label = prompts.correction_click(rng, np.zeros_like(truth), truth)
    assert truth[int(y), int(x)] and label == 1
    (x, y), label = prompts.correction_click(rng, np.ones_like(truth), truth)
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


def test_the_ceiling_is_one_for_large_things_and_low_for_thin_ones():
    assert table.ceiling(square(), 64) > 0.98
    thin = np.zeros((512, 512), bool)
    thin[:, 200:202] = True
    assert table.ceiling(thin, 64) < 0.5


def test_the_ceiling_of_squeezed_images_is_that_of_a_square_mask():
    bar = np.zeros((512, 96), bool)
    bar[:, 40:44] = True  # a third of a pixel of 64 along the longer side, 2.7 of a squeezed 64
    assert table.ceiling(bar, 64) < 0.8 < 0.95 < table.ceiling(bar, 64, square=True)
    assert table.ceiling(square(), 32, True) == table.ceiling(square(), 32)
    assert table.mean_ceiling([], 64) == 1


def test_the_ceiling_is_a_yardstick_that_logits_on_its_grid_can_pass():
    y, x = np.ogrid[:48, :48]
    ring = np.abs(np.hypot(y - 24, x - 24) - 14) <= 1.5
    truth = torch.from_numpy(ring)[None, None].float()
    low = (8 * F.interpolate(truth, (16, 16), mode="area") - 4).requires_grad_()
    optimiser = torch.optim.Adam([low], 0.2)
    for _ in range(100):
        logits = F.interpolate(low, ring.shape, mode="bilinear", align_corners=False)
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(3 * logits, truth).backward()
        optimiser.step()
    assert table.ceiling(ring, 16) < 0.85 < 0.95 < table.iou((logits[0, 0] > 0).numpy(), ring)


def test_whoever_draws_has_masks_of_its_own_size_and_shape():
    sam = build_nano()
    assert table.grid(sam) == (64, False)
    assert table.grid(adapt(sam, LoRA(2))) == (64, True)
    assert table.grid(adapt(sam, LoRA(2), resize="pad")) == (64, False)
    assert table.grid(UNet(128, width=4)) == (128, True)


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
