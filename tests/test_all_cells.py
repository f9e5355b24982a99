"""The kernels of all cells in one batch of operations: the same values, far fewer kernels."""

import copy

import pytest
import torch
from adapting import random_images, register_max_pool, shaken, small_sam
from tiny import SIDE
from torch.utils._python_dispatch import TorchDispatchMode

from naslora_core.adapters import LoRA, NASLoRA, NASPCLoRA, adapt, cells
from naslora_core.sam.checkpointing import checkpointed
from naslora_core.search import Cell

MODELS = {
    "an alpha a block": NASLoRA(),
    "an alpha a kind": NASLoRA(share="kind"),
    "one alpha, plain": NASLoRA(share="all", start="plain"),
    "whole map": NASLoRA(place="map", start="identity"),
    "q and v": NASLoRA(rank=2, linears=("q", "v")),
    "partial": NASPCLoRA(),
    "darts": NASLoRA(rank=2, operators="darts", blocks="late-2"),
    "mixed": NASLoRA(rank=2, operators=("conv_3x3", "max_of_3x3", "skip"), blocks="global"),
}
LARGEST_A_BLOCK, LARGEST_A_STEP = 12, 60


@pytest.fixture(scope="module")
def sam():
    return small_sam()


def answer(model, images, sparing=False):
    """Embedding and gradients of one step in training."""
    encoder = copy.deepcopy(model.train().sam.image_encoder).double()
    with checkpointed(encoder, sparing):
        out = encoder(model.preprocess(images).double())
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return out, {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sparing", [False, True])
def test_all_at_once_equals_a_sum_over_maps(sam, name, sparing, monkeypatch):
    register_max_pool(monkeypatch)
    model, images = shaken(adapt(sam, MODELS[name])), random_images()
    out, gradients = answer(model, images, sparing)
    assert all(cell.mixed is None for cell in cells(model).values())
    monkeypatch.setattr(Cell, "forward", Cell.mix_maps)
    wanted, others = answer(model, images)
    assert torch.allclose(out, wanted, atol=1e-9)
    assert gradients.keys() == others.keys() and len(gradients) > 4
    for n, g in gradients.items():
        assert torch.allclose(g, others[n], atol=1e-7 * others[n].abs().max()), n


def test_a_pass_uses_the_alpha_of_its_own_time(sam):
    """Two passes before one backward pass, as gradients are accumulated; then a changed alpha."""
    model, images = shaken(adapt(sam, NASLoRA(blocks="global"))), random_images(2)
    encoder, (x, y) = model.sam.image_encoder, model.preprocess(images).split(1)
    found = []
    for parts in ((x, y), (torch.cat([x, y]),)):
        model.zero_grad()
        with checkpointed(encoder, len(parts) == 2):
            outs = torch.cat([encoder(part) for part in parts])
        (outs * torch.linspace(-1, 1, outs.numel()).view_as(outs)).sum().backward()
        found.append({n: p.grad for n, p in model.trainable().items() if p.grad is not None})
    for n, g in found[0].items():
        assert torch.allclose(g, found[1][n], atol=1e-3 * g.abs().max()), n
    before = encoder(x).detach()
    with torch.no_grad():
        next(iter(cells(model).values())).arch_alpha.mul_(-2)
    assert not torch.allclose(encoder(x), before)


class Kernels(TorchDispatchMode):
    """Counts the operations that PyTorch dispatches; views launch nothing and are left out."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += not function.is_view and function.name() != "aten::_unsafe_view"
        return function(*args, **(kwargs or {}))


def kernels(sam, method) -> int:
    """Of a forward and backward pass of the encoder."""
    encoder = adapt(sam, method).train().sam.image_encoder
    for _ in range(2):  # the first pass lays out the banks
        with Kernels() as counted:
            encoder(torch.zeros(1, 3, SIDE, SIDE)).sum().backward()
        encoder.zero_grad()
    return counted.count


@pytest.mark.parametrize("kind", [NASLoRA, NASPCLoRA])
@pytest.mark.parametrize("how", [{}, {"share": "kind"}, {"place": "map"}], ids=str)
def test_the_number_of_kernels_hardly_grows_with_depth(sam, kind, how):
    """Before, NAS-LoRA issued 40 more a block than LoRA (43 on the map), at any depth."""
    deep, shallow = (
        kernels(sam, kind(blocks=b, **how)) - kernels(sam, LoRA(blocks=b))
        for b in ("all", (0, 1, 2))
    )
    a_block = (deep - shallow) / 3
    assert 0 < a_block <= LARGEST_A_BLOCK
    assert deep - 6 * a_block <= LARGEST_A_STEP
