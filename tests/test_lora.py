"""LoRA is y = W0 x + b + s Wd We x: equal to peft on copied weights, forward, merged and back."""

import pytest
import torch
from adapting import random_images, shaken, small_sam
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from tiny import WIDTH

from naslora_core.adapters import (
    DecoderOnly,
    FixedConv,
    LoRA,
    NASLoRA,
    adapt,
    cells,
    fold,
    load_adapter,
    load_folded,
    save_adapter,
)
from naslora_core.adapters.lora import LoRALinear
from naslora_core.adapters.target_layers import plus_path
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter

RANK, SCALE = 3, 0.7


def peft_twin(sam, model):
    """The same encoder with peft's LoRA on every qkv and our We, Wd in it."""
    config = LoraConfig(r=RANK, lora_alpha=SCALE * RANK, target_modules=["qkv"], lora_dropout=0.0)
    theirs = inject_adapter_in_model(config, sam.image_encoder).eval()
    for ours, block in zip(model.sam.image_encoder.blocks, theirs.blocks, strict=True):
        block.attn.qkv.lora_A["default"].weight.data.copy_(ours.attn.qkv.We)
        block.attn.qkv.lora_B["default"].weight.data.copy_(ours.attn.qkv.Wd)
    return theirs


@torch.no_grad()
def test_forward_merge_and_unmerge_equal_peft():
    sam = small_sam()
    model = shaken(adapt(sam, LoRA(RANK, SCALE)))
    theirs, x = peft_twin(small_sam(), model), model.preprocess(random_images())
    assert (model.encode(x) - theirs(x)).abs().max() < 1e-5

    folded = fold(model).model
    for ours, block in zip(folded.sam.image_encoder.blocks, theirs.blocks, strict=True):
        block.attn.qkv.merge()
        assert (ours.attn.qkv.weight - block.attn.qkv.base_layer.weight).abs().max() < 1e-6
    assert (folded.encode(x) - theirs(x)).abs().max() < 1e-5

    # To unmerge is to use the adapted model again: folding copied, so the base is bit-identical.
    for ours, base, block in zip(
        model.sam.image_encoder.blocks, sam.image_encoder.blocks, theirs.blocks, strict=True
    ):
        block.attn.qkv.unmerge()
        assert torch.equal(ours.attn.qkv.base.weight, base.attn.qkv.weight)
        close = block.attn.qkv.base_layer.weight - base.attn.qkv.weight
        assert close.abs().max() < 1e-6


def test_gradients_equal_peft():
    model = shaken(adapt(small_sam(), LoRA(RANK, SCALE)))
    theirs, x = peft_twin(small_sam(), model), model.preprocess(random_images())
    for encode in (model.encode, theirs):
        out = encode(x)  # layer-normed: its mean square would be constant
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).mean().backward()
    for ours, block in zip(model.sam.image_encoder.blocks, theirs.blocks, strict=True):
        for mine, other in (("We", "lora_A"), ("Wd", "lora_B")):
            wanted = getattr(block.attn.qkv, other)["default"].weight.grad
            found = getattr(ours.attn.qkv, mine).grad
            assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()


SIZE = st.integers(1, 6)


@settings(max_examples=40, deadline=None)
@given(
    rank=st.integers(1, 8), d=st.integers(1, 12), out=st.integers(1, 9), batch=SIZE, h=SIZE, w=SIZE
)
def test_the_formula_for_any_shape(rank, d, out, batch, h, w):
    torch.manual_seed(0)
    linear = torch.nn.Linear(d, out).double()
    lora, x = LoRALinear(linear, rank, 1.3).double(), torch.randn(batch, h, w, d).double()
    assert torch.equal(lora(x), linear(x))
    lora.Wd.data.normal_()
    dense = linear.weight + 1.3 * lora.Wd @ lora.We
    assert torch.allclose(lora(x), torch.nn.functional.linear(x, dense, linear.bias), atol=1e-12)


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_only_wd_has_gradient_at_the_start(start):
    lora = LoRALinear(torch.nn.Linear(5, 6), 2, 1.0)
    lora.Wd.data.fill_(start)
    lora(torch.randn(3, 2, 2, 5)).square().sum().backward()
    assert lora.Wd.grad.abs().sum() > 0
    assert (lora.We.grad.abs().sum() > 0) == bool(start)


EVERYWHERE = ("q", "v", "proj", "lin1", "lin2")


def test_every_linear_of_a_block_equals_peft_and_folds_entirely():
    sam = small_sam()
    model = shaken(adapt(sam, LoRA(RANK, SCALE, linears=("qkv", "proj", "lin1", "lin2"))))
    names = ["qkv", "proj", "lin1", "lin2"]
    config = LoraConfig(r=RANK, lora_alpha=SCALE * RANK, target_modules=names)
    theirs = inject_adapter_in_model(config, small_sam().image_encoder).eval()
    for ours, block in zip(model.sam.image_encoder.blocks, theirs.blocks, strict=True):
        for part, name in (("attn", "qkv"), ("attn", "proj"), ("mlp", "lin1"), ("mlp", "lin2")):
            mine, other = getattr(getattr(ours, part), name), getattr(getattr(block, part), name)
            other.lora_A["default"].weight.data.copy_(mine.We)
            other.lora_B["default"].weight.data.copy_(mine.Wd)
    x = model.preprocess(random_images())
    with torch.no_grad():
        assert (model.encode(x) - theirs(x)).abs().max() < 1e-5
    assert len(fold(model).report.rows) == 24 and fold(model).vanilla


@torch.no_grad()
def test_q_and_v_alone_leave_k_as_it_was():
    sam = small_sam()
    model = shaken(adapt(sam, LoRA(RANK, SCALE, linears=("q", "v"))))
    x, d = torch.randn(2, 4, 4, WIDTH), WIDTH
    qkv, base = model.sam.image_encoder.blocks[0].attn.qkv, sam.image_encoder.blocks[0].attn.qkv
    q, v = qkv.base, qkv  # q was wrapped first
    moved = qkv(x) - base(x)
    assert torch.equal(moved[..., d : 2 * d], torch.zeros(2, 4, 4, d))
    assert torch.allclose(moved[..., :d], SCALE * x @ q.We.T @ q.Wd.T, atol=1e-5)
    assert torch.allclose(moved[..., 2 * d :], SCALE * x @ v.We.T @ v.Wd.T, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("method", [LoRA, FixedConv, NASLoRA])
def test_any_choice_of_linears_starts_as_the_base_folds_and_loads(method, small_base, tmp_path):
    sam, images = small_sam(), random_images()
    model = adapt(sam, method(rank=2, linears=EVERYWHERE, blocks=(1, 2)))
    assert torch.equal(model(images).low_res, Segmenter(sam)(images).low_res)
    paths = 2 * 2 * 16 * WIDTH  # sums of sides: 2, 2, 2, 5 and 5 widths
    assert method is not LoRA or size(model) - size(adapt(sam, DecoderOnly())) == paths
    shaken(model)
    folded = fold(model)
    assert (folded.model(images).low_res - model(images).low_res).abs().max() < 1e-4
    again = load_folded(folded.save(tmp_path / "folded.safetensors"))
    assert torch.equal(again(images).low_res, folded.model(images).low_res)
    loaded = load_adapter(sam, save_adapter(model, tmp_path / "adapter.safetensors"))
    assert torch.equal(loaded(images).low_res, model(images).low_res)
    assert len(cells(model)) == (10 if method is NASLoRA else 0)


def size(model) -> int:
    """Trained parameters."""
    return sum(p.numel() for p in model.trainable().values())


@pytest.mark.parametrize("linears", [(), ("qkv", "q"), ("q", "q"), ("mlp",), "qkv"])
def test_linears_that_are_none_are_refused_with_the_choices(linears):
    with pytest.raises(UserError, match=r"linears=.*qkv, proj, lin1, lin2, q, k, v"):
        adapt(small_sam(), LoRA(linears=linears))


def test_a_path_is_added_in_place_only_where_no_gradient_is_kept():
    y, z, Wd = (
        torch.randn(2, 3, 3, 6),
        torch.randn(2, 3, 3, 2),
        torch.randn(6, 2, requires_grad=True),
    )
    wanted = y + 0.5 * (z @ Wd.T)
    kept = y.clone()
    assert torch.allclose(plus_path(kept, z, Wd, 0.5, (0, 0)), wanted, atol=1e-6)
    assert torch.equal(kept, y)
    with torch.no_grad():
        same = plus_path(kept, z, Wd, 0.5, (0, 0))
    assert torch.allclose(same, wanted, atol=1e-6) and same.data_ptr() == kept.data_ptr()
    part = plus_path(y, z, Wd[:4], 0.5, (1, 1))
    assert torch.allclose(part[..., 1:5] - y[..., 1:5], 0.5 * (z @ Wd[:4].T), atol=1e-6)
    assert torch.equal(part[..., [0, 5]], y[..., [0, 5]])
