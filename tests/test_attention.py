"""The fused attention is SAM's own: values, gradients, names, adapters and prompts."""

import copy

import pytest
import torch
from adapting import METHODS, random_images, shaken, small_sam
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_anything.modeling.image_encoder import Attention
from torch.autograd.graph import saved_tensors_hooks

from naslora_core.adapters import adapt
from naslora_core.sam.fused_attention import FusedAttention, fuse
from naslora_workbook.research.methods.vpt import VPT, PromptedAttention


def official(dim, heads, size, rel_pos=True, seed=0):
    torch.manual_seed(seed)
    layer = Attention(dim, heads, use_rel_pos=rel_pos, input_size=size).double()
    if rel_pos:
        torch.nn.init.normal_(layer.rel_pos_h)
        torch.nn.init.normal_(layer.rel_pos_w)
    return layer


@settings(max_examples=30, deadline=None)
@given(
    heads=st.integers(1, 3),
    c=st.integers(1, 8),
    h=st.integers(1, 7),
    w=st.integers(1, 7),
    batch=st.integers(1, 5),
    rel_pos=st.booleans(),
)
def test_values_and_gradients_equal_segment_anything(heads, c, h, w, batch, rel_pos):
    layer = official(heads * c, heads, (h, w), rel_pos)
    fused = FusedAttention(copy.deepcopy(layer))
    x = torch.randn(batch, h, w, heads * c).double()
    inputs = [x.clone().requires_grad_(True) for _ in range(2)]
    outs = [m(i) for m, i in zip((layer, fused), inputs, strict=True)]
    assert torch.allclose(*outs, atol=1e-10)
    for out in outs:
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    assert torch.allclose(inputs[0].grad, inputs[1].grad, atol=1e-9)
    pairs = zip(layer.parameters(), fused.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-9) for a, b in pairs)


def test_tables_of_another_size_are_stretched_as_there():
    layer = official(8, 2, (4, 6))
    fused, x = FusedAttention(copy.deepcopy(layer)), torch.randn(2, 7, 5, 8).double()
    assert torch.allclose(layer(x), fused(x), atol=1e-10)


def test_names_and_tensors_are_the_official_ones():
    sam = small_sam()
    before = {k: v.clone() for k, v in sam.image_encoder.state_dict().items()}
    fuse(sam.image_encoder)
    after = sam.image_encoder.state_dict()
    assert all(type(b.attn) is FusedAttention for b in sam.image_encoder.blocks)
    assert list(after) == list(before) and all(torch.equal(after[k], before[k]) for k in after)


@pytest.mark.parametrize("name", [*METHODS, "vpt"])
def test_every_adapter_computes_the_same_on_it(name):
    method = METHODS.get(name, VPT(tokens=3))
    images, outs = random_images(), []
    for prepare in (lambda encoder: encoder, fuse):
        sam = small_sam()
        prepare(sam.image_encoder)
        model = shaken(adapt(sam, method))
        with torch.no_grad():
            outs.append(model(images).low_res)
    assert torch.allclose(*outs, atol=2e-4)


def test_an_adapted_model_can_be_fused_afterwards():
    model, images = shaken(adapt(small_sam(), METHODS["nas_lora"])), random_images()
    with torch.no_grad():
        before = model(images).low_res
        fuse(model.sam.image_encoder)
        assert torch.allclose(model(images).low_res, before, atol=2e-4)


def test_prompts_are_official_on_official_attention_and_fused_on_fused():
    layer, tokens = official(8, 2, (4, 4)), torch.randn(3, 8).double()
    slow = PromptedAttention(layer, tokens)
    fast = PromptedAttention(FusedAttention(layer), tokens)
    x = torch.randn(2, 4, 4, 8).double()
    assert not slow.fused and fast.fused
    assert torch.allclose(slow(x), fast(x), atol=1e-10)


def test_no_tensor_of_all_pairs_is_kept_for_backward():
    """The official layer keeps tokens^2 numbers a head, the fused one none (CPU flash kernel)."""
    layer = official(32, 2, (16, 16)).float()
    x = torch.randn(1, 16, 16, 32, requires_grad=True)

    def largest(module):
        sizes = []
        with saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            _ = module(x)
        return max(sizes)

    assert largest(layer) >= 2 * 256**2
    assert largest(FusedAttention(layer)) < 2 * 256**2 / 2
