"""Exercises of lesson 06: a router without a gradient, adapters that add up, a safe combination."""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.sam import model_hash
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
        proves="The same logits, the same experts: only the mixture can learn which one it needs.",
    )


def router_gradients(z: Tensor, w_gate: Tensor, answers: Tensor, target: Tensor) -> list[Tensor]:
    """The reference of 6.1: d mse(z + E, target) / d w_gate `r M`, of top-1 and of softmax."""
    w = w_gate.clone().requires_grad_()
    gates = (z.mean((2, 3)) @ w).softmax(1)
    mixed = z + torch.einsum("bm,bmrhw->brhw", gates, answers)
    return [torch.zeros_like(w_gate), *torch.autograd.grad(F.mse_loss(mixed, target), w)]


def ex_6_3(answer):
    """The adapter that adds up"""
    cases = []
    for seed, dim in enumerate((6, 10)):
        rng = np.random.default_rng(seed)
        x = single(rng, 2, 4, 4, dim)
        cases += [(layer, x) for layer in suspects(dim, seed=seed).values()]

    return checks.check(
        "6.3",
        answer,
        reference_alarm,
        cases,
        hint="Hash the base before and after; compare a COPY of the first answer with the second, "
        "for two names of one tensor always agree.",
        proves="Your alarm tells a base that moved, an answer that doubled, and an honest layer.",
    )


def reference_alarm(layer: nn.Module, x: Tensor) -> dict[str, str]:
    """The reference of 6.3: what two calls with one input have done."""
    before = model_hash(layer.base)
    first, second = layer(x).clone(), layer(x)
    moved, same = model_hash(layer.base) != before, torch.allclose(first, second, atol=1e-4)
    return {"base": "moved" if moved else "as it was", "calls": "agree" if same else "disagree"}


def ex_6_2(answer):
    """A sum that does not overflow"""

    def case(rng):
        b, k, r, side = (int(n) for n in rng.integers(1, 5, 4))
        answers = single(rng, b, k, r, side, side) * rng.choice([1, 30, 300])
        return answers, single(rng, b, k).log_softmax(1)

    def reference(answers, log_gates):
        return torch.logsumexp(answers + log_gates[..., None, None, None], 1)

    return checks.check(
        "6.2",
        answer,
        reference,
        case,
        hint="Draw the largest of the k answers out of the sum, at each position by itself: "
        "log sum exp(a) = m + log sum exp(a - m).",
        proves="No answer is too large for it any more, nor too small.",
        tolerance=1e-4,
    )


class Honest(nn.Module):
    """W0 x + b + Wd (z + K * z), z = We x, on a frozen Linear `base`; the others inherit."""

    def __init__(self, dim: int, rank: int, drawn: torch.Generator):
        super().__init__()
        self.base = nn.Linear(dim, 3 * dim)
        self.We = nn.Parameter(torch.randn(rank, dim, generator=drawn))
        self.Wd = nn.Parameter(torch.randn(3 * dim, rank, generator=drawn))
        self.K = nn.Parameter(torch.randn(rank, rank, 3, 3, generator=drawn) / 5)
        for p in self.base.parameters():
            p.data = torch.randn(p.shape, generator=drawn)
        self.requires_grad_(False)

    def around(self, x: Tensor) -> Tensor:
        """K * z alone, back at the width of the output."""
        z = F.conv2d((x @ self.We.T).permute(0, 3, 1, 2), self.K, padding=1)
        return z.permute(0, 2, 3, 1) @ self.Wd.T

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ (self.Wd @ self.We).T + self.around(x)


class Merging(Honest):
    """The centre goes into W0, at every call."""

    def forward(self, x: Tensor) -> Tensor:
        self.base.weight += self.Wd @ self.We
        return self.base(x) + self.around(x)


class Undoing(Honest):
    """The centre goes into W0 and is taken out again."""

    def forward(self, x: Tensor) -> Tensor:
        self.base.weight += self.Wd @ self.We
        y = self.base(x) + self.around(x)
        self.base.weight -= self.Wd @ self.We
        return y


class Remembering(Honest):
    """The frozen answer is computed once for an input; the path is added to it in place."""

    kept = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None or self.kept[0] is not x:
            self.kept = x, self.base(x)
        qkv = self.kept[1]
        qkv += x @ (self.Wd @ self.We).T + self.around(x)
        return qkv


def suspects(dim: int = 8, rank: int = 2, seed: int = 0) -> dict[str, nn.Module]:
    """Four layers by letter that agree in their first answer to any x `B H W dim`."""
    kinds = Remembering, Honest, Undoing, Merging
    drawn = {kind: torch.Generator().manual_seed(seed) for kind in kinds}
    return {letter: k(dim, rank, drawn[k]) for letter, k in zip("ABCD", kinds, strict=True)}
