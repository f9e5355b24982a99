"""Exercises of lesson 09: the fewest steps to a probability, steadiness, trainers that leak."""

import copy
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.search.schedule import Stage, stage_wise
from naslora_workbook.lessons import checks

BETAS = (0.5, 0.999)


def ex_9_1(answer):
    """The fewest steps"""
    rng = np.random.default_rng(0)
    cases = [(float(p), float(lr), int(n)) for p, lr, n in _draws(rng)]
    return checks.check(
        "9.1",
        answer,
        walked,
        [*cases, (0.1, 0.02, 9)],
        hint="After t steps the logits are 2 t lr apart. Solve winner_probability(t lr, n) = p, "
        "then take the next whole number.",
        proves="Your formula gives the number of steps that AdamW takes.",
        mistakes={
            "The logits are 2 t lr apart, not t lr: the winner rises and all others fall.": (
                lambda p, lr, n: _fewest(p, lr / 2, n)
            ),
            "The whole number below is one step short: the probability must be above p.": (
                lambda p, lr, n: max(0, _fewest(p, lr, n) - 1)
            ),
            "Where p lies below uniform, 0 steps are enough: the start has probability 1 / n.": (
                lambda p, lr, n: _fewest(p, lr, n, least=-1000)
            ),
            "n - 1 operators share the rest: compare with n - 1, not with n.": (
                lambda p, lr, n: _fewest(p, lr, n + 1)
            ),
        },
    )


def _fewest(p: float, alpha_lr: float, n: int, least: int = 0) -> int:
    """The formula of 9.1."""
    apart = np.log((n - 1) * p / (1 - p))
    return max(least, int(np.floor(apart / (2 * alpha_lr))) + 1)


def _draws(rng: np.random.Generator, count: int = 6):
    for _ in range(count):
        yield rng.uniform(0.2, 0.97), rng.uniform(0.01, 0.3), rng.integers(6, 12)


def walked(p: float, alpha_lr: float, n: int) -> int:
    """The reference of 9.1: AdamW's steps under a steady gradient until the winner is above p."""
    alpha = nn.Parameter(torch.zeros(n, dtype=torch.float64))
    adam = torch.optim.AdamW([alpha], alpha_lr, betas=BETAS, weight_decay=0)
    alpha.grad = torch.ones_like(alpha)
    alpha.grad[0], steps = -1, 0
    while alpha.softmax(0)[0] <= p:
        adam.step()
        steps += 1
    return steps


def ex_9_2(answer):
    """Steadiness"""

    def case(rng):
        steps, n = int(rng.integers(5, 30)), int(rng.integers(2, 10))
        alpha = 0.1 * rng.normal(rng.normal(size=n), 1, (steps, n)).cumsum(0)
        p = np.exp(alpha)
        return (p / p.sum(1, keepdims=True),)

    return checks.check(
        "9.2",
        answer,
        steadiness,
        case,
        hint="log p is alpha minus one number a step: subtract the mean of each row. Before the "
        "first step alpha is 0, and that step counts, too.",
        proves="Alpha's way can be computed from the probabilities that every event carries.",
        mistakes={
            "The first step is missing: before it, alpha is 0 (use prepend).": _from_first,
            "Centre every row: a softmax fixes log p only up to a constant.": _uncentred,
            "This is the way of the probabilities, not of alpha: take the logarithm.": (
                lambda p: _way(p - p.mean(-1, keepdims=True))
            ),
            "You divided the other way round: distance made over distance walked.": (
                lambda p: 1 / steadiness(p)
            ),
        },
    )


def _way(alpha: np.ndarray) -> float:
    """Distance made over distance walked, from 0 on."""
    moves = np.diff(alpha, axis=0, prepend=np.zeros_like(alpha[:1]))
    return np.abs(alpha[-1]).sum() / np.abs(moves).sum()


def _uncentred(p: np.ndarray) -> float:
    return _way(np.log(p))


def _from_first(p: np.ndarray) -> float:
    alpha = np.log(p) - np.log(p).mean(-1, keepdims=True)
    return np.abs(alpha[-1] - alpha[0]).sum() / np.abs(np.diff(alpha, axis=0)).sum()


def steadiness(probability: np.ndarray) -> np.ndarray:
    """The reference of 9.2: distance made / distance walked of alpha, from probabilities `T ... n`.

    Both are sums of absolute moves of centred alpha, from uniform on; 1 never turned round.
    """
    alpha = np.log(probability)
    alpha = alpha - alpha.mean(-1, keepdims=True)
    moves = np.diff(alpha, axis=0, prepend=np.zeros_like(alpha[:1]))
    return np.abs(alpha[-1]).sum(-1) / np.abs(moves).sum((0, -1))


def ex_9_3(answer):
    """Four trainers, one honest"""
    cases = [(t, STAGES) for seed in (0, 1) for t in suspects(seed).values()]
    return checks.check(
        "9.3",
        answer,
        reference_alarm,
        cases,
        hint="Run the three stages one at a time. Compare arch_alpha after each with a copy from "
        "before it. state_dict() gives the tensors themselves, which change: clone them.",
        proves="Your function tells three leaks apart, none of which stops the loss from falling.",
        mistakes={
            "Alpha moved during warm-up: look at each stage by itself.": partial(
                _without, "too early"
            ),
            "Alpha moved while it should settle: compare after the last stage, too.": partial(
                _without, "too late"
            ),
            "Alpha did not move in the search: that is a fault as well.": partial(
                _without, "left out"
            ),
            "state_dict() gives the tensors themselves, which change: clone them.": (
                lambda trainer, stages: "left out"
            ),
        },
    )


def _without(fault: str, trainer: "Trainer", stages: Sequence[Stage]) -> str:
    """The answer of someone who does not find this fault."""
    found = reference_alarm(trainer, stages)
    return "honest" if found == fault else found


STAGES = stage_wise(40, lr=0.01, alpha_lr=0.05).stages


def reference_alarm(trainer: "Trainer", stages: Sequence[Stage]) -> str:
    """The reference of 9.3: "too early", "left out", "too late" or "honest"."""
    moves = {}
    for stage in stages:
        before = copy.deepcopy(trainer.model.state_dict())
        trainer.run(stage)
        after = trainer.model.state_dict()
        moves[stage.name] = not torch.equal(before["arch_alpha"], after["arch_alpha"])
    if moves["warm-up"]:
        return "too early"
    if not moves["search"]:
        return "left out"
    return "too late" if moves["settle"] else "honest"


class Mixture(nn.Module):
    """Three 3 x 3 kernels under a softmax."""

    def __init__(self, drawn: torch.Generator, rank: int = 2):
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(3, rank, rank, 3, 3, generator=drawn) / 4)
        self.arch_alpha = nn.Parameter(torch.zeros(3))

    def forward(self, z: Tensor) -> Tensor:
        mixed = torch.einsum("n,noiyx->oiyx", self.arch_alpha.softmax(0), self.kernels)
        return F.conv2d(z, mixed, padding=1)


class Trainer:
    """`run(stage)` trains `model` through a stage; the losses of its steps."""

    def __init__(self, seed: int = 0):
        drawn = torch.Generator().manual_seed(seed)
        self.model, self.z = Mixture(drawn), torch.randn(8, 2, 9, 9, generator=drawn)
        self.y = F.conv2d(self.z, torch.randn(2, 2, 3, 3, generator=drawn) / 3, padding=1)
        self.optimisers = {
            "weights": torch.optim.AdamW(self.weights(), 0.01),
            "alpha": torch.optim.AdamW([self.model.arch_alpha], 0.05, betas=BETAS),
        }

    def weights(self) -> list[Tensor]:
        return [self.model.kernels]

    def run(self, stage: Stage) -> list[float]:
        return [self.step(stage.moves_at(number)[0]) for number in range(stage.steps)]

    def step(self, moves: Sequence[str]) -> float:
        """One step of `moves`; the others have no gradient and do not move."""
        self.model.zero_grad(set_to_none=True)
        loss = F.mse_loss(self.model(self.z), self.y)
        loss.backward()
        for kind in moves:
            self.optimisers[kind].step()
        return loss.item()


class Greedy(Trainer):
    """The weights' optimiser was given model.parameters(), and alpha is one of them."""

    def weights(self) -> list[Tensor]:
        return list(self.model.parameters())


class Zeroed(Trainer):
    """Freezes by gradients of zero; Adam's momentum goes on."""

    def step(self, moves: Sequence[str]) -> float:
        self.model.zero_grad(set_to_none=True)
        loss = F.mse_loss(self.model(self.z), self.y)
        loss.backward()
        if "alpha" not in moves:
            self.model.arch_alpha.grad.zero_()
        for optimiser in self.optimisers.values():
            optimiser.step()
        return loss.item()


class Forgotten(Trainer):
    """Alpha was replaced (to be shared, say) after the optimiser had been made."""

    def __init__(self, seed: int = 0):
        super().__init__(seed)
        self.model.arch_alpha = nn.Parameter(self.model.arch_alpha.detach().clone())


def suspects(seed: int = 0) -> dict[str, Trainer]:
    """Four trainers by letter, begun with the same kernels and images."""
    kinds = Zeroed, Trainer, Forgotten, Greedy
    return {letter: kind(seed) for letter, kind in zip("ABCD", kinds, strict=True)}
