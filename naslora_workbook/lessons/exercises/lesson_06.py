"""Exercises of lesson 06: a router without a gradient, a safe sum, a path that mixes up space."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.drawn import normal

single = partial(normal, kind=torch.float32)


def ex_6_1(answer):
    """The router that gets no task gradient"""

    def case(rng):
        b, r, experts, side = (int(n) for n in rng.integers(2, 6, 4))
        z, target = single(rng, b, r, side, side), single(rng, b, r, side, side)
        return z, single(rng, r, experts), single(rng, b, experts, r, side, side), target

    return checks.check(
        "6.1",
        answer,
        router_gradients,
        case,
        hint=(
            "First top-1, then softmax. Top-1 takes the softmax over the ONE logit that it keeps, "
            "not over all of them; an answer that is chosen and multiplied by nothing has no "
            "graph, and its gradient is a tensor of zeros."
        ),
        mistakes={
            "The two are swapped: top-1 comes first, then the softmax mixture.": (
                lambda *given: router_gradients(*given)[::-1]
            ),
            "Your top-1 keeps the winner's share among ALL experts. Conv-LoRA takes the softmax "
            "over the ONE logit that it keeps, so its gate is 1.": (
                lambda *given: [_switch_gradient(*given), router_gradients(*given)[1]]
            ),
        },
        proves="The same logits, the same experts: only the mixture can learn which one it needs.",
    )


def router_gradients(z: Tensor, w_gate: Tensor, answers: Tensor, target: Tensor) -> list[Tensor]:
    """The reference of 6.1: d mse(z + E, target) / d w_gate `r M`, of top-1 and of softmax."""
    w = w_gate.clone().requires_grad_()
    gates = (z.mean((2, 3)) @ w).softmax(1)
    mixed = z + torch.einsum("bm,bmrhw->brhw", gates, answers)
    return [torch.zeros_like(w_gate), *torch.autograd.grad(F.mse_loss(mixed, target), w)]


def _switch_gradient(z: Tensor, w_gate: Tensor, answers: Tensor, target: Tensor) -> Tensor:
    """The gradient of top-1 whose gate is its share among all, as in Switch Transformers."""
    w = w_gate.clone().requires_grad_()
    shares = (z.mean((2, 3)) @ w).softmax(1)
    gates = shares * (shares == shares.amax(1, keepdim=True))
    mixed = z + torch.einsum("bm,bmrhw->brhw", gates, answers)
    return torch.autograd.grad(F.mse_loss(mixed, target), w)[0]


def ex_6_2(answer):
    """A sum that does not overflow"""

    def case(rng):
        b, k, r, side = (int(n) for n in rng.integers(1, 5, 4))
        answers = single(rng, b, k, r, side, side) * rng.choice([1, 30, 300])
        return answers, single(rng, b, k).log_softmax(1)

    def reference(answers, log_gates):
        return torch.logsumexp(answers + _gates(log_gates), 1)

    return checks.check(
        "6.2",
        answer,
        reference,
        case,
        hint="Take the largest of the k answers out of the sum, at each position separately: "
        "log sum exp(a) = m + log sum exp(a - m).",
        mistakes={
            "exp overflows: an answer above 88 is infinite in float32. Take the largest answer out "
            "of the sum first.": (
                lambda answers, log_gates: (_gates(log_gates).exp() * answers.exp()).sum(1).log()
            ),
            "The gates are missing: add their logarithms to the answers.": (
                lambda answers, log_gates: torch.logsumexp(answers, 1)
            ),
            "One largest answer for the whole tensor is too large for other positions: take it at "
            "each position separately.": _one_maximum,
        },
        proves="The sum is right for large answers and for small ones.",
        tolerance=1e-4,
    )


def _gates(log_gates: Tensor) -> Tensor:
    return log_gates[..., None, None, None]


def _one_maximum(answers: Tensor, log_gates: Tensor) -> Tensor:
    top = answers.max()
    return top + (_gates(log_gates).exp() * (answers - top).exp()).sum(1).log()


def ex_6_3(answer):
    """The path that mixes up space"""

    def case(rng):
        b, h, w, d, r = (int(n) for n in rng.integers((1, 3, 5, 3, 2), (3, 5, 8, 6, 4)))
        K = single(rng, r, r, 3, 3)
        return single(rng, b, h, w, d), single(rng, r, d), K, single(rng, 2 * d, r)

    return checks.check(
        "6.3",
        answer,
        spatial_path,
        case,
        hint="Channels are last in x and second in a convolution's input: `permute` moves an axis, "
        "`reshape` only cuts the numbers into another shape.",
        mistakes={
            "`reshape` before the convolution mixes channels and places: use "
            "`permute(0, 3, 1, 2)`, and `permute(0, 2, 3, 1)` on the way back.": reshaped_path,
            "The way there is right, the way back is not: use `permute(0, 2, 3, 1)`, not "
            "`reshape`.": half_reshaped_path,
            "z itself is missing: the path is z + K * z.": (
                lambda x, We, K, Wd: spatial_path(x, We, K, Wd) - x @ We.T @ Wd.T
            ),
        },
        proves="A token now changes its own neighbours, and no other token.",
        tolerance=1e-4,
    )


def spatial_path(x: Tensor, We: Tensor, K: Tensor, Wd: Tensor) -> Tensor:
    """The reference of 6.3: Wd (z + K * z), z = We x, of tokens `B H W d`."""
    z = (x @ We.T).permute(0, 3, 1, 2)
    z = z + F.conv2d(z, K, padding=1)
    return z.permute(0, 2, 3, 1) @ Wd.T


def reshaped_path(x: Tensor, We: Tensor, K: Tensor, Wd: Tensor) -> Tensor:
    """The bug of 6.3: `reshape` both ways."""
    z = (x @ We.T).reshape(len(x), -1, *x.shape[1:3])
    z = z + F.conv2d(z, K, padding=1)
    return z.reshape(*x.shape[:3], -1) @ Wd.T


def half_reshaped_path(x: Tensor, We: Tensor, K: Tensor, Wd: Tensor) -> Tensor:
    """`permute` there, `reshape` back."""
    z = (x @ We.T).permute(0, 3, 1, 2)
    z = z + F.conv2d(z, K, padding=1)
    return z.reshape(*x.shape[:3], -1) @ Wd.T
