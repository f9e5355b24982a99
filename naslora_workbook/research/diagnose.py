"""Diagnostics of a trained search: norms of operators' outputs, importance by masking, curvature.

Each reads a trained model on images that it was not trained on, and leaves it as it was.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from naslora_core.adapters import cells
from naslora_core.search import Cell
from naslora_core.training.losses import cross_entropy_dice


@torch.no_grad()
def norms(model: nn.Module, images: Tensor) -> dict[str, dict[str, float]]:
    """Of every cell and operator |a_i O_i(z)| / |z|, on the z that `images` `B 3 S S` send."""
    found = {}

    def listen(cell: Cell, inputs: tuple, label: str) -> None:
        z, weights = inputs[0], cell.gain * cell.probabilities()
        outputs = zip(cell.names, weights, cell.operators, strict=True)
        found[label] = {n: float((w * op(z)).norm() / z.norm()) for n, w, op in outputs}

    with ExitStack() as stack, resting(model):
        for label, cell in cells(model).items():
            hook = cell.register_forward_pre_hook(partial(listen, label=label))
            stack.callback(hook.remove)
        model(images)
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
    try:
        with torch.no_grad():
            cell.arch_alpha[number] = -torch.inf
        yield
    finally:
        with torch.no_grad():
            cell.arch_alpha.copy_(before)


@dataclass(frozen=True)
class Curvature:
    """The highest and the lowest eigenvalue of the loss's Hessian in alpha."""

    highest: float
    lowest: float


def curvature(model: nn.Module, images: Tensor, masks: Tensor) -> Curvature:
    """How the loss curves in alpha, all cells together: exact, one backward pass an alpha.

    A highest eigenvalue that grows is RobustDARTS' early warning (Zela 2020): the choice of an
    operator then changes the loss. images `B 3 S S`, masks `B S S`.
    """
    alphas = list({id(c.arch_alpha): c.arch_alpha for c in cells(model).values()}.values())
    flags = [a.requires_grad for a in alphas]
    for a in alphas:
        a.requires_grad_(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
            return extreme_curvature(_loss(model, images, masks), alphas)
    finally:
        for a, flag in zip(alphas, flags, strict=True):
            a.requires_grad_(flag)


def extreme_curvature(loss: Tensor, parameters: Sequence[Tensor]) -> Curvature:
    """The extreme eigenvalues of the Hessian of a scalar in all of the parameters together."""
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    rows = []
    for slope in torch.cat([s.flatten() for s in slopes]):
        row = torch.autograd.grad(slope, parameters, retain_graph=True)  # d slope / d parameters
        rows.append(torch.cat([part.flatten() for part in row]))
    values = torch.linalg.eigvalsh(torch.stack(rows).double())  # ascending
    return Curvature(float(values[-1]), float(values[0]))


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
