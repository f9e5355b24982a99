"""Losses are their formulas, with true gradients."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_data, tiny_sam

from naslora_core.adapters import LoRA, adapt
from naslora_core.errors import UserError
from naslora_core.training.fitting import fit
from naslora_core.training.losses import (
    LOSSES,
    against_rest,
    balanced_bce,
    boundary_weight,
    cross_entropy_dice,
    named_loss,
    structure,
    with_background,
)


def some(classes=1, batch=2, side=12, seed=0, dtype=torch.float64):
    """Logits `B C h w` and labels `B h w` with a block of every class."""
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(batch, classes, side, side, generator=g, dtype=dtype)
    labels = torch.zeros(batch, side, side, dtype=torch.uint8)
    for c in range(1, classes + 1):
        y, x = torch.randint(0, side // 2, (2,), generator=g)
        labels[:, y : y + side // 3, x : x + side // 3] = c
    return logits, labels


def published(pred, mask, window=31, factor=5):
    """The structure loss as its paper has it; its public code passes reduce="none", which PyTorch
    takes for True, so that the weights of the cross-entropy cancel there."""
    near = F.avg_pool2d(mask, kernel_size=window, stride=1, padding=window // 2)
    weight = 1 + factor * torch.abs(near - mask)
    cross = F.binary_cross_entropy_with_logits(pred, mask, reduction="none")
    cross = (weight * cross).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))
    p = torch.sigmoid(pred)
    shared = (p * mask * weight).sum(dim=(2, 3))
    union = ((p + mask) * weight).sum(dim=(2, 3))
    return (cross + 1 - (shared + 1) / (union - shared + 1)).mean()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_gradients_are_finite_differences(name, classes):
    logits, labels = some(classes, batch=1, side=6)
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, labels), logits.requires_grad_())


@pytest.mark.parametrize("side", [6, 40])
def test_structure_is_the_published_formula(side):
    logits, labels = some(side=side)
    mask = (labels == 1)[:, None].double()
    assert torch.allclose(structure(logits, labels), published(logits, mask), atol=1e-12)


def test_boundary_weight_sees_boundaries_and_the_images_edge():
    truth = torch.zeros(1, 1, 64, 64)
    truth[..., 20:40, 20:40] = 1
    weight = boundary_weight(truth, window=5)[0, 0]
    assert weight[30, 30] == weight[5, 5] == 1  # inside and far outside
    assert weight[20, 30] == pytest.approx(1 + 5 * 2 / 5)  # two of five rows are outside
    full = boundary_weight(torch.ones(1, 1, 64, 64), window=5)[0, 0]
    assert full[30, 30] == 1 and full[0, 30] == pytest.approx(1 + 5 * 2 / 5)
    with pytest.raises(UserError, match="30 pixels.*31"):
        boundary_weight(truth, window=30)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_balanced_bce_is_the_released_form(seed):
    logits, labels = some(seed=seed)
    truth = (labels == 1)[:, None].double()
    object_, rest = truth.sum(), (1 - truth).sum()
    loss = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=rest / object_)
    assert torch.allclose(balanced_bce(logits, labels), loss * object_ / (object_ + rest))


def test_balanced_bce_weighs_both_sides_alike_and_one_side_nothing():
    labels = torch.zeros(1, 10, 10)
    labels[0, 0, :2] = 1
    logits = torch.zeros(1, 1, 10, 10, requires_grad=True)
    balanced_bce(logits, labels).backward()
    assert logits.grad.sum().abs() < 1e-8  # the pull up equals the pull down
    assert balanced_bce(logits, labels * 0) == 0


def test_one_class_of_cross_entropy_dice_is_the_closed_form():
    logits, labels = some()
    truth, p = (labels == 1)[:, None].double(), logits.sigmoid()
    soft = 1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
    closed = F.binary_cross_entropy_with_logits(logits, truth) + soft
    assert torch.allclose(cross_entropy_dice(logits, labels), closed)


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_a_class_against_the_rest_has_its_softmax_as_sigmoid(classes):
    logits, labels = some(classes)
    m, truth = against_rest(logits, labels)
    assert torch.allclose(m.sigmoid(), with_background(logits).softmax(1)[:, 1:])
    assert all(torch.equal(truth[:, c - 1] == 1, labels == c) for c in range(1, classes + 1))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_loss_breaks_on_empty_full_or_sure_masks(name, classes, dtype):
    for label in (0, 1):
        logits = torch.full((2, classes, 9, 9), -80.0, dtype=dtype).requires_grad_()
        loss = LOSSES[name](logits, torch.full((2, 9, 9), label))
        loss.backward()
        assert loss.isfinite() and logits.grad.isfinite().all() and loss.dtype == torch.float32


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_a_right_answer_loses_less_than_a_wrong_one(name, classes):
    _, labels = some(classes)
    right = 8 * F.one_hot(labels.long(), classes + 1).movedim(-1, 1)[:, 1:].double() - 4
    losses = [LOSSES[name](x, labels) for x in (right, 0 * right, -right)]
    assert losses[0] < losses[1] < losses[2]


def test_an_unknown_loss_names_the_choices():
    with pytest.raises(UserError, match="'focal'; choose one of cross_entropy_dice, .*"):
        named_loss("focal")
    with pytest.raises(UserError, match="matched loss, not by 'structure'.*head='plain'"):
        named_loss("structure", matched=True)


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.mark.parametrize("classes", [1, 2])
def test_fit_trains_with_the_loss_of_that_name(sam, classes, tmp_path):
    data, quiet = tiny_data(classes=classes), {"steps": 2, "batch": 2, "progress": False}
    first = {}
    for name in ("cross_entropy_dice", "structure"):
        model = adapt(sam, LoRA(rank=2), classes)
        first[name] = fit(model, data, loss=name, out=tmp_path / name, **quiet).history[0]["loss"]
    assert first["structure"] != first["cross_entropy_dice"]
    with pytest.raises(UserError, match="loss "):
        fit(adapt(sam, LoRA(rank=2), classes), data, out=tmp_path / "structure", **quiet)


def test_fit_refuses_another_loss_before_a_folder_is_begun(sam, tmp_path):
    for head, name in (("plain", "focal"), ("matched", "structure")):
        with pytest.raises(UserError):
            fit(adapt(sam, LoRA(), head=head), tiny_data(), loss=name, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
