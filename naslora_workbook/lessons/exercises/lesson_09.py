"""Exercises of lesson 09: the fewest steps to a probability, steadiness, trainers that leak."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.search.schedule import Stage, stage_wise
from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import integers, lettered, overlooks

BETAS = (0.5, 0.999)


def _fewest(p: float, alpha_lr: float, n: int, least: int = 0) -> int:
    """The formula of 9.1."""
    apart = np.log((n - 1) * p / (1 - p))
    return max(least, int(np.floor(apart / (2 * alpha_lr))) + 1)


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


@exercise(
    "The fewest steps",
    walked,
    one_lr_apart=lambda p, lr, n: _fewest(p, lr / 2, n),
    one_step_short=lambda p, lr, n: max(0, _fewest(p, lr, n) - 1),
    below_uniform=lambda p, lr, n: _fewest(p, lr, n, least=-1000),
    compared_with_n=lambda p, lr, n: _fewest(p, lr, n + 1),
)
def ex_9_1():
    rng = np.random.default_rng(0)
    ends = (0.2, 0.01), (0.97, 0.3)
    drawn = [(*rng.uniform(*ends).tolist(), int(rng.integers(6, 12))) for _ in range(6)]
    return [*drawn, (0.1, 0.02, 9)]


def steadiness(probability: np.ndarray) -> np.ndarray:
    """The reference of 9.2: distance made / distance walked of alpha, from probabilities `T ... n`.

    Both are sums of absolute moves of centred alpha, from uniform on; 1 never turned round.
    """
    return _made_over_walked(_centred(np.log(probability)))


def _centred(rows: np.ndarray) -> np.ndarray:
    return rows - rows.mean(-1, keepdims=True)


def _made_over_walked(alpha: np.ndarray, from_zero: bool = True) -> np.ndarray:
    """Sums of absolute moves of alpha `T ... n`: of the whole way, over those of its steps."""
    if from_zero:
        alpha = np.concatenate([np.zeros_like(alpha[:1]), alpha])
    moves = np.diff(alpha, axis=0)
    return np.abs(alpha[-1] - alpha[0]).sum(-1) / np.abs(moves).sum((0, -1))


@exercise(
    "Steadiness",
    steadiness,
    first_step_missing=lambda p: _made_over_walked(_centred(np.log(p)), from_zero=False),
    not_centred=lambda p: _made_over_walked(np.log(p)),
    probabilities=lambda p: _made_over_walked(_centred(p)),
    upside_down=lambda p: 1 / steadiness(p),
)
def ex_9_2(rng):
    steps, n = integers(rng, (5, 30), (2, 10))
    alpha = 0.1 * rng.normal(rng.normal(size=n), 1, (steps, n)).cumsum(0)
    p = np.exp(alpha)
    return (p / p.sum(1, keepdims=True),)


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
        loss = self.backward()
        for kind in moves:
            self.optimisers[kind].step()
        return loss

    def backward(self) -> float:
        """New gradients; the loss."""
        self.model.zero_grad(set_to_none=True)
        loss = F.mse_loss(self.model(self.z), self.y)
        loss.backward()
        return loss.item()


class Greedy(Trainer):
    """The weights' optimiser was given model.parameters(), and alpha is one of them."""

    def weights(self) -> list[Tensor]:
        return list(self.model.parameters())


class Zeroed(Trainer):
    """Freezes by gradients of zero; Adam's momentum goes on."""

    def step(self, moves: Sequence[str]) -> float:
        loss = self.backward()
        if "alpha" not in moves:
            self.model.arch_alpha.grad.zero_()
        for optimiser in self.optimisers.values():
            optimiser.step()
        return loss


class Forgotten(Trainer):
    """Alpha was replaced (to be shared, say) after the optimiser had been made."""

    def __init__(self, seed: int = 0):
        super().__init__(seed)
        self.model.arch_alpha = nn.Parameter(self.model.arch_alpha.detach().clone())


def suspects(seed: int = 0) -> dict[str, Trainer]:
    """Four trainers by letter, begun with the same kernels and images."""
    return lettered(lambda kind: kind(seed), *(Zeroed, Trainer, Forgotten, Greedy))


@exercise(
    "Four trainers, one honest",
    reference_alarm,
    too_early=overlooks(reference_alarm, "too early"),
    too_late=overlooks(reference_alarm, "too late"),
    left_out=overlooks(reference_alarm, "left out"),
    not_cloned=lambda trainer, stages: "left out",
)
def ex_9_3():
    return [(t, STAGES) for seed in (0, 1) for t in suspects(seed).values()]
