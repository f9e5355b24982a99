"""Exercises of lesson 08: alpha's gradient by differences, a better schedule, four searches."""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.search.schedule import Schedule
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import lettered, normal, overlooks, single
from naslora_workbook.research.operator_recovery import Garden, race

WANTED = "conv_3x3"
BAR, SEEDS = 0.3, (0, 1)  # of a winner's probability, of the races in 8.2


def _differences(loss, alpha: Tensor, ahead: float, behind: float) -> Tensor:
    """Differences of the loss over steps ahead and behind, by their distance."""
    steps = torch.eye(len(alpha), dtype=alpha.dtype)
    pairs = [(loss(alpha + ahead * s), loss(alpha - behind * s)) for s in steps]
    return torch.stack([(up - down) / (ahead + behind) for up, down in pairs])


def _gradient_and_alpha(function, loss, alpha, h) -> list:
    before, found = alpha.clone(), function(loss, alpha, h)
    same = torch.equal(alpha, before)
    return [found, "alpha is as it was" if same else "alpha has moved"]


def _by_autograd(loss, alpha, h) -> Tensor:
    wanted = alpha.clone().requires_grad_()
    return torch.autograd.grad(loss(wanted), wanted)[0]


def _in_place(loss, alpha, h) -> Tensor:
    found = _differences(loss, alpha, h, h)
    alpha += h
    return found


@exercise(
    "Alpha's gradient by differences",
    _by_autograd,
    tolerance=1e-4,
    seen=_gradient_and_alpha,
    one_sided=lambda loss, alpha, h: _differences(loss, alpha, h, 0),
    divided_by_h=lambda loss, alpha, h: 2 * _differences(loss, alpha, h, h),
    in_place=_in_place,
)
def ex_8_1(rng):
    n = int(rng.integers(3, 8))
    answers, target = normal(rng, n, 2, 3, 4, 4), normal(rng, 2, 3, 4, 4)

    def loss(alpha):
        mixed = torch.einsum("n,nbrhw->brhw", alpha.softmax(0), answers)
        return (mixed - target).square().sum()

    return loss, normal(rng, n), 1e-3


def ex_8_2(answer):
    """Beat the step budget"""
    return checks.check(
        "8.2", lambda passes: outcome(answer(passes), passes), lambda passes: RIGHT, [(120,)]
    )


RIGHT = f"both readings say {WANTED}, alpha above {BAR}, in both seeds"


def outcome(schedule: Schedule, passes: int) -> str:
    """What races under this schedule end in: RIGHT, or what is missing."""
    if not isinstance(schedule, Schedule):
        return f"no Schedule but a {type(schedule).__name__}"
    if schedule.steps > passes:
        return f"{schedule.steps} steps, more than {passes}"
    for seed in SEEDS:
        found = race(WANTED, seed, Garden(batch=4, schedule=schedule))
        reached = max(found.history[-1]["probability"])
        if (found.projection, found.argmax) != (WANTED, WANTED) or reached < BAR:
            says = f"projection says {found.projection}, argmax {found.argmax}"
            return f"seed {seed}: {says}, alpha at {reached:.2f}"
    return RIGHT


def reference_alarm(search: nn.Module, a: tuple, b: tuple) -> str:
    """The reference of 8.3: "no softmax", "same half", "coupled decay" or "honest"."""

    def moved(*halves):
        twin = copy.deepcopy(search)
        twin.step(*halves)
        return (twin.alpha - search.alpha).abs().max() > search.alpha_lr / 2

    silence, raised = tuple(map(torch.zeros_like, a)), copy.deepcopy(search)
    raised.alpha.data += 1
    if not torch.allclose(raised(a[0]), search(a[0]), atol=1e-5):
        return "no softmax"
    if moved(silence, silence):
        return "coupled decay"
    return "same half" if moved(a, silence) else "honest"


class Honest(nn.Module):
    """Three 3 x 3 kernels under a softmax; weights learn on one half, alpha on the other."""

    alpha_lr, decay = 0.02, 1e-3

    def __init__(self, drawn: torch.Generator, rank: int = 2):
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(3, rank, rank, 3, 3, generator=drawn) / 4)
        self.alpha = nn.Parameter(0.3 + 0.1 * torch.randn(3, generator=drawn))
        self.by_weights = torch.optim.AdamW([self.kernels], 0.01)
        self.by_alpha = self.optimiser([self.alpha], self.alpha_lr, weight_decay=self.decay)

    def optimiser(self, *arguments, **options) -> torch.optim.Optimizer:
        return torch.optim.AdamW(*arguments, betas=(0.5, 0.999), **options)

    def shares(self) -> Tensor:
        return self.alpha.softmax(0)

    def forward(self, z: Tensor) -> Tensor:
        return F.conv2d(z, torch.einsum("n,noiyx->oiyx", self.shares(), self.kernels), padding=1)

    def step(self, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
        """One step of the weights on (z, y) = a, one of alpha on b; the loss on a."""
        loss = self._move(self.by_weights, a)
        self._move(self.by_alpha, b)
        return loss

    def _move(self, optimiser, half: tuple[Tensor, Tensor]) -> float:
        self.zero_grad()
        loss = F.mse_loss(self(half[0]), half[1])
        loss.backward()
        optimiser.step()
        return loss.item()


class Bare(Honest):
    """alpha without its softmax."""

    def shares(self) -> Tensor:
        return self.alpha


class OneHalf(Honest):
    """Alpha learns on the images that the weights have just learned."""

    def step(self, a, b) -> float:
        return super().step(a, a)


class Coupled(Honest):
    """Decay goes through Adam's normalisation."""

    def optimiser(self, *arguments, **options) -> torch.optim.Optimizer:
        return torch.optim.Adam(*arguments, betas=(0.5, 0.999), **options)


def suspects(seed: int = 0) -> dict[str, nn.Module]:
    """Four searches by letter, begun with the same kernels and alphas."""
    return lettered(
        lambda kind: kind(torch.Generator().manual_seed(seed)), *(OneHalf, Coupled, Bare, Honest)
    )


def batches(seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Two halves (z, y), y a fixed 3 x 3 of z: `8 2 9 9`."""
    rng = np.random.default_rng(seed)
    kernel = single(rng, 2, 2, 3, 3) / 3
    halves = [single(rng, 8, 2, 9, 9) for _ in "AB"]
    return [(z, F.conv2d(z, kernel, padding=1)) for z in halves]


@exercise(
    "Four searches, one honest",
    reference_alarm,
    no_softmax=overlooks(reference_alarm, "no softmax"),
    same_half=overlooks(reference_alarm, "same half"),
    coupled_decay=overlooks(reference_alarm, "coupled decay"),
    taken_for_same_half=overlooks(reference_alarm, "coupled decay", "same half"),
)
def ex_8_3():
    return [(s, *batches(seed)) for seed in (0, 1) for s in suspects(seed).values()]
