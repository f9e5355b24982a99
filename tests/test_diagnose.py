"""What is told of a search is what it did."""

import copy
import math

import numpy as np
import pytest
import torch
from adapting import shaken, small_sam
from tiny import SIDE, tiny_data

from naslora_core.adapters import NASLoRA, adapt, cells
from naslora_core.data.transforms import to_batch
from naslora_core.errors import UserError
from naslora_core.sam import fuse
from naslora_core.training.fitting import fit
from naslora_core.training.losses import cross_entropy_dice
from naslora_workbook.figures.alpha_trajectory import trajectory
from naslora_workbook.research.diagnose import (
    curvature,
    extreme_curvature,
    importance,
    norms,
    without,
)

OPERATORS = ("none", "skip", "conv_3x3")


@pytest.fixture(scope="module")
def sam():
    return small_sam()


@pytest.fixture(scope="module")
def model(sam):
    return shaken(adapt(sam, NASLoRA(2, operators=OPERATORS, start="plain", blocks=(4, 5))))


@pytest.fixture(scope="module")
def batch():
    return to_batch(tiny_data().val[:2], SIDE)


def event(step, moved, *alpha):
    return {"step": step, "moved": moved, "alpha": [list(a) for a in alpha]}


def test_the_trajectory_of_a_written_history():
    history = [
        event(1, "weights", (0.5, 0.5), (1.0, 0.0)),
        event(2, "alpha", (0.6, 0.4), (0.9, 0.1)),
        event(3, "alpha", (0.4, 0.6), (0.8, 0.2)),
        event(4, "weights", (0.4, 0.6), (0.8, 0.2)),
        event(5, "alpha", (0.7, 0.3), (0.8, 0.2)),
    ]
    told = trajectory(history)
    assert told.probability[1].tolist() == [[0.6, 0.4], [0.9, 0.1]]
    assert told.moved.tolist() == [False, True, True, False, True]
    with pytest.raises(UserError, match="alpha"):
        trajectory([{"step": 1, "moved": "weights", "loss": 1.0}])


def test_the_trajectory_of_a_real_search_has_a_row_a_step(sam):
    model = adapt(sam, NASLoRA(2, operators=OPERATORS, blocks=(1, 2)))
    result = fit(model, tiny_data(), "joint", steps=4, batch=2, progress=False)
    told = trajectory(result.history)
    assert told.probability.shape == (4, 2, 3) and told.steps.tolist() == [1, 2, 3, 4]
    assert np.allclose(told.probability.sum(-1), 1, atol=1e-6) and told.moved.all()


def test_norms_are_of_the_weighted_outputs(model, batch):
    found = norms(model, batch[0])
    cell = cells(model)["block 4"]
    assert set(found) == {"block 4", "block 5"}
    assert found["block 4"]["none"] == 0
    assert found["block 4"]["skip"] == pytest.approx(cell.probabilities()[1].item(), rel=1e-5)


def test_norms_have_the_gain_of_a_mixture_beside_the_skip(sam, batch):
    wide = shaken(adapt(sam, NASLoRA(2, operators=OPERATORS, start="beside", blocks=(5,))))
    share = cells(wide)["block 5"].probabilities()[1].item()
    assert norms(wide, batch[0])["block 5"]["skip"] == pytest.approx(3**0.5 * share, rel=1e-5)


def test_leaving_an_operator_out_is_the_cell_without_it(model, batch):
    cell = cells(model)["block 5"]
    before, images, masks = cell.arch_alpha.detach().clone(), *batch
    with without(cell, 2), torch.no_grad():
        assert cell.probabilities()[2] == 0 and cell.probabilities().sum() == pytest.approx(1)
        loss = float(cross_entropy_dice(model(images).masks, masks))
    with torch.no_grad():
        whole = float(cross_entropy_dice(model(images).masks, masks))
    assert torch.equal(cell.arch_alpha, before)
    found = importance(model, images, masks)["block 5"]
    assert found["conv_3x3"] == pytest.approx(loss - whole, abs=1e-6)


def test_curvature_has_the_extreme_eigenvalues_of_a_quadratic():
    """a'Aa / 2 has the Hessian A; [[2, 1], [1, -3]] has the eigenvalues (-1 +- sqrt 29) / 2."""
    a, b = (torch.zeros(1, requires_grad=True) for _ in range(2))
    found = extreme_curvature((2 * a * a + 2 * a * b - 3 * b * b).sum() / 2, [a, b])
    assert found.highest == pytest.approx((-1 + math.sqrt(29)) / 2)
    assert found.lowest == pytest.approx((-1 - math.sqrt(29)) / 2)


def test_zero_lies_between_the_ends_for_alphas_that_pass_a_softmax(model, batch):
    """The loss is constant along (1, ..., 1), so v'Hv = 0 there, between both eigenvalues."""
    found = curvature(model, *batch)
    assert found.lowest < 1e-7 and found.highest > -1e-7 and found.lowest < found.highest


def test_curvature_passes_through_fused_attention_and_leaves_flags(model, batch):
    alphas = [c.arch_alpha for c in cells(model).values()]
    expected = curvature(model, *batch)
    twin = copy.deepcopy(model)
    fuse(twin.sam.image_encoder)
    for cell in cells(twin).values():
        cell.arch_alpha.requires_grad_(False)
    found = curvature(twin, *batch)
    assert found.highest == pytest.approx(expected.highest, rel=0.02, abs=1e-5)
    assert found.lowest == pytest.approx(expected.lowest, rel=0.02, abs=1e-5)
    assert not any(c.arch_alpha.requires_grad for c in cells(twin).values())
    assert all(a.requires_grad for a in alphas)


def test_a_model_in_training_keeps_its_batch_statistics_and_its_mode(sam, batch):
    model = shaken(adapt(sam, NASLoRA(2, operators="darts", blocks=(5,)))).train()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    norms(model, batch[0])
    curvature(model, *batch)
    assert model.training
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
