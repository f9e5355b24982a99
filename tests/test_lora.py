"""LoRA is y = W0 x + b + s Wd We x: equal to peft on copied weights, forward, merged and back."""

import pytest
import torch
from adapting import random_images, shaken, small_sam
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model

from naslora_core.adapters import LoRA, adapt, fold
from naslora_core.adapters.lora import LoRALinear

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
    model.encode(x).square().mean().backward()
    theirs(x).square().mean().backward()
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
