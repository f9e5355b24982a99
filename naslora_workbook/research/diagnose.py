"""What a trained search rests on: operators' outputs, masking, curvature, the gap of choosing.

All of it reads a trained model on images it was not trained on, and leaves it as it was.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from naslora_core.adapters import cells, discretise
from naslora_core.data.transforms import to_batch
from naslora_core.errors import UserError
from naslora_core.search import Cell
from naslora_core.training.evaluation import evaluate
from naslora_core.training.losses import cross_entropy_dice


def diagnose(model: nn.Module, samples: Sequence) -> dict:
    """Norms, importance and curvature of a searched model on `samples`, by block and operator."""
    if not cells(model):
        raise UserError(f"{type(model.method).__name__} searches nothing; give a NASLoRA model.")
    images, masks = to_batch(samples, model.image_size, resize=model.resize)
    device = next(model.parameters()).device
    images, masks = images.to(device), masks.to(device)
    return {
        "norms": norms(model, images),
        "importance": importance(model, images, masks),
        "curvature": curvature(model, images, masks),
    }


@torch.no_grad()
def norms(model: nn.Module, images: Tensor) -> dict[str, dict[str, float]]:
    """Of every cell and operator |a_i O_i(z)| / |z|, on the z that `images` `B 3 S S` send."""
    found = {}

    def listen(label: str, cell: Cell, inputs: tuple) -> None:
        z, weights = inputs[0], cell.gain * cell.probabilities()
        outputs = zip(cell.names, weights, cell.operators, strict=True)
        found[label] = {n: float((w * op(z)).norm() / z.norm()) for n, w, op in outputs}

    hooks = [
        cell.register_forward_pre_hook(lambda m, z, label=label: listen(label, m, z))
        for label, cell in cells(model).items()
    ]
    with resting(model):
        model(images)
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def importance(model: nn.Module, images: Tensor, masks: Tensor) -> dict[str, dict[str, float]]:
    """How much the loss rises when an operator is left out of the softmax (darts-pt's ranking)."""
    loss = partial(_loss, model, images, masks)
    whole, found = float(loss()), {}
    for label, cell in cells(model).items():
        found[label] = {}
        for number, name in enumerate(cell.names):
            with without(cell, number):
                found[label][name] = float(loss()) - whole
    return found


@contextmanager
def without(cell: Cell, number: int) -> Iterator[None]:
    """Inside, operator `number` has probability 0 and the others share its weight."""
    before = cell.arch_alpha.detach().clone()
    with torch.no_grad():
        cell.arch_alpha[number] = -torch.inf
    try:
        yield
    finally:
        with torch.no_grad():
            cell.arch_alpha.copy_(before)


def curvature(
    model: nn.Module, images: Tensor, masks: Tensor, rounds: int = 30, seed: int = 0
) -> float:
    """The top eigenvalue of the loss's Hessian in alpha, by power iteration (RobustDARTS)."""
    alphas = list({id(c.arch_alpha): c.arch_alpha for c in cells(model).values()}.values())
    flags = [a.requires_grad for a in alphas]
    for a in alphas:
        a.requires_grad_(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
            return _top_eigenvalue(_loss(model, images, masks), alphas, rounds, seed)
    finally:
        for a, flag in zip(alphas, flags, strict=True):
            a.requires_grad_(flag)


def _top_eigenvalue(loss: Tensor, alphas: list[Tensor], rounds: int, seed: int) -> float:
    slopes = torch.autograd.grad(loss, alphas, create_graph=True)
    slope, value = torch.cat([s.flatten() for s in slopes]), 0.0
    v = torch.randn(len(slope), generator=torch.Generator().manual_seed(seed)).to(slope)
    for _ in range(rounds):
        v = v / v.norm()
        turned = torch.autograd.grad(slope @ v, alphas, retain_graph=True)  # H v
        turned = torch.cat([t.flatten() for t in turned])
        value, v = float(v @ turned), turned
    return value


def gap(sam: nn.Module, model: nn.Module, data, images: int = 16) -> dict[str, dict[str, float]]:
    """Mean validation scores of the mixture, and of what is left after choosing by each reading."""
    batch, _ = to_batch(
        [data.train[i] for i in range(min(images, len(data.train)))],
        model.image_size,
        resize=model.resize,
    )
    batch = batch.to(next(model.parameters()).device)
    chosen = {r: discretise(sam, model, batch, r) for r in ("projection", "argmax")}
    each = {"mixture": model} | chosen
    return {n: evaluate(m, data.val, classes=model.classes).mean for n, m in each.items()}


def _loss(model: nn.Module, images: Tensor, masks: Tensor) -> Tensor:
    with resting(model):
        return cross_entropy_dice(model(images).masks, masks)


@contextmanager
def resting(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in eval mode, so that batch statistics are read and not written."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
