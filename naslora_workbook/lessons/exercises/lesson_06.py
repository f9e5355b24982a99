"""Exercises of lesson 06: a router without a gradient, a safe sum, a path that mixes up space."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import single


def router_gradients(z: Tensor, w_gate: Tensor, answers: Tensor, target: Tensor) -> list[Tensor]:
    """The reference of 6.1: d mse(z + E, target) / d w_gate `r M`, of top-1 and of softmax."""
    return [torch.zeros_like(w_gate), _gradient(z, w_gate, answers, target)]


def _gradient(z: Tensor, w_gate: Tensor, answers: Tensor, target: Tensor, first=False) -> Tensor:
    """The softmax mixture's gradient; first: of the largest share alone, as in Switch."""
    w = w_gate.clone().requires_grad_()
    gates = (z.mean((2, 3)) @ w).softmax(1)
    if first:
        gates = gates * (gates == gates.amax(1, keepdim=True))
    mixed = z + torch.einsum("bm,bmrhw->brhw", gates, answers)
    return torch.autograd.grad(F.mse_loss(mixed, target), w)[0]


@exercise(
    "The router that gets no task gradient",
    router_gradients,
    swapped=lambda *given: router_gradients(*given)[::-1],
    share_among_all=lambda *given: [_gradient(*given, first=True), router_gradients(*given)[1]],
)
def ex_6_1(rng):
    b, r, experts, side = (int(n) for n in rng.integers(2, 6, 4))
    z, target = single(rng, b, r, side, side), single(rng, b, r, side, side)
    return z, single(rng, r, experts), single(rng, b, experts, r, side, side), target


def _gates(log_gates: Tensor) -> Tensor:
    return log_gates[..., None, None, None]


def _one_maximum(answers: Tensor, log_gates: Tensor) -> Tensor:
    top = answers.max()
    return top + (_gates(log_gates).exp() * (answers - top).exp()).sum(1).log()


@exercise(
    "A sum that does not overflow",
    lambda answers, log_gates: torch.logsumexp(answers + _gates(log_gates), 1),
    tolerance=1e-4,
    overflow=lambda answers, log_gates: (_gates(log_gates).exp() * answers.exp()).sum(1).log(),
    without_gates=lambda answers, log_gates: torch.logsumexp(answers, 1),
    one_maximum=_one_maximum,
)
def ex_6_2(rng):
    b, k, r, side = (int(n) for n in rng.integers(1, 5, 4))
    answers = single(rng, b, k, r, side, side) * rng.choice([1, 30, 300])
    return answers, single(rng, b, k).log_softmax(1)


def spatial_path(x: Tensor, We: Tensor, K: Tensor, Wd: Tensor, reshape: str = "") -> Tensor:
    """The reference of 6.3: Wd (z + K * z), z = We x, of tokens `B H W d`.

    reshape: "there", "back" or both, where it stands in place of `permute`: the bug of 6.3.
    """
    z = x @ We.T
    z = z.reshape(len(x), -1, *x.shape[1:3]) if "there" in reshape else z.permute(0, 3, 1, 2)
    z = z + F.conv2d(z, K, padding=1)
    z = z.reshape(*x.shape[:3], -1) if "back" in reshape else z.permute(0, 2, 3, 1)
    return z @ Wd.T


reshaped_path = partial(spatial_path, reshape="there and back")
half_reshaped_path = partial(spatial_path, reshape="back")


@exercise(
    "The path that mixes up space",
    spatial_path,
    tolerance=1e-4,
    reshaped=reshaped_path,
    reshaped_back=half_reshaped_path,
    without_z=lambda x, We, K, Wd: spatial_path(x, We, K, Wd) - x @ We.T @ Wd.T,
)
def ex_6_3(rng):
    b, h, w, d, r = (int(n) for n in rng.integers((1, 3, 5, 3, 2), (3, 5, 8, 6, 4)))
    K = single(rng, r, r, 3, 3)
    return single(rng, b, h, w, d), single(rng, r, d), K, single(rng, 2 * d, r)
