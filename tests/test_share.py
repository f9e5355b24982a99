"""Cells that share alpha share one Parameter, through training, files and resuming."""

import pytest
import torch
from adapting import random_images, shaken, small_sam, trained_step
from tiny import tiny_data

from naslora_core.adapters import (
    NASLoRA,
    NASPCLoRA,
    adapt,
    cells,
    fold,
    load_adapter,
    read_genotype,
    save_adapter,
)
from naslora_core.errors import UserError
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.training.fitting import fit

VECTORS = {"block": 6, "kind": 2, "all": 1}
every = pytest.mark.parametrize("share", VECTORS)


@pytest.fixture(scope="module")
def sam():
    return small_sam()


def alphas(model):
    return {n: p for n, p in model.trainable().items() if n.endswith("arch_alpha")}


@every
@pytest.mark.parametrize("method", [NASLoRA, NASPCLoRA])
def test_so_many_vectors_are_trained(sam, method, share):
    model, alone = (adapt(sam, method(rank=4, share=s)) for s in (share, "block"))
    assert len(alphas(model)) == VECTORS[share]
    assert len({id(c.arch_alpha) for c in cells(model).values()}) == VECTORS[share]
    count, most = (sum(p.numel() for p in m.trainable().values()) for m in (model, alone))
    assert count == most - 9 * (6 - VECTORS[share])
    first = {n: p for n, p in alone.trainable().items() if not n.endswith("arch_alpha")}
    assert all(torch.equal(p, model.trainable()[n]) for n, p in first.items())  # drawn the same


def test_kinds_are_windowed_and_global(sam):
    found = cells(adapt(sam, NASLoRA(rank=2, share="kind", linears=("q", "v"))))
    of = {n: id(c.arch_alpha) for n, c in found.items()}
    whole = {a for n, a in of.items() if n.startswith(("block 2", "block 5"))}
    rest = {a for n, a in of.items() if not n.startswith(("block 2", "block 5"))}
    assert len(whole) == len(rest) == 1 and whole != rest


@every
def test_a_vision_transformer_that_is_only_counted(share):
    with torch.device("meta"):
        sam = BUILDERS["sam_nano"]()
    assert len(alphas(adapt(sam, NASLoRA(rank=2, share=share)))) == VECTORS[share]


@every
def test_a_shared_gradient_is_the_sum_and_steps_keep_it_shared(sam, share):
    one, images = shaken(adapt(sam, NASLoRA(rank=2))), random_images()
    two = adapt(sam, NASLoRA(rank=2, share=share))
    for n, p in two.trainable().items():
        p.data.copy_(one.trainable()[n])
    for cell, other in zip(cells(one).values(), cells(two).values(), strict=True):
        cell.arch_alpha.data.copy_(other.arch_alpha)
    for model in (one, two):
        model(images).low_res.square().mean().backward()
    total = sum(c.arch_alpha.grad for c in cells(one).values())
    assert torch.allclose(sum(p.grad for p in alphas(two).values()), total, rtol=1e-4, atol=1e-6)
    trained_step(two, images)
    assert len({tuple(c.arch_alpha.tolist()) for c in cells(two).values()}) == VECTORS[share]


@every
def test_files_genotype_and_fold(sam, tmp_path, share):
    model, images = shaken(adapt(sam, NASLoRA(rank=3, share=share))), random_images()
    again = load_adapter(sam, save_adapter(model, tmp_path / "a.safetensors"))
    assert again.method == model.method and len(alphas(again)) == VECTORS[share]
    genotype = read_genotype(again, images[:1], schedule="joint", data="polyp", seed=0)
    assert len(genotype.blocks) == 6
    assert len({tuple(b.alpha) for b in genotype.blocks}) == VECTORS[share]
    with torch.no_grad():
        wanted = model(images).low_res
        assert torch.equal(again(images).low_res, wanted)
        assert (fold(model).model(images).low_res - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("share", ["kind", "all"])
def test_a_resumed_search_of_shared_alpha_is_the_same(sam, tmp_path, share):
    run = {"schedule": "joint", "steps": 4, "batch": 2, "progress": False, "genotype_images": 0}
    method = NASLoRA(rank=2, share=share)
    whole = fit(adapt(sam, method), tiny_data(), **run)
    stopped = adapt(sam, method)
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, tiny_data(), out=tmp_path, on_event=stop_at(3), save_every_seconds=0, **run)
    halves = fit(adapt(sam, method), tiny_data(), out=tmp_path, **run)
    assert len(whole.history[0]["alpha"]) == VECTORS[share]
    for n, p in whole.model.trainable().items():
        assert torch.equal(p, halves.model.trainable()[n])


def stop_at(step):
    def stop(event):
        if event["step"] == step:
            raise KeyboardInterrupt

    return stop


def test_an_alpha_that_does_not_search_is_not_trained(sam, tmp_path):
    model = adapt(sam, NASLoRA(rank=2, searches=False))
    assert not alphas(model)
    result = fit(model, tiny_data(), steps=3, batch=2, progress=False, genotype_images=0)
    assert {e["moved"] for e in result.history} == {"weights"}
    assert not any("alpha" in e for e in result.history)
    assert all(c.arch_alpha.abs().max() == 0 for c in cells(model).values())
    again = load_adapter(sam, save_adapter(model, tmp_path / "a.safetensors"))
    with torch.no_grad():
        assert torch.equal(again(random_images()).low_res, model(random_images()).low_res)


def test_an_unknown_share_is_refused():
    with pytest.raises(UserError, match="'every'.*block, kind, all"):
        NASLoRA(share="every")
