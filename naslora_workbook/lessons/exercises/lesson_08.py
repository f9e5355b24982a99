"""Exercises of lesson 08: alpha's gradient by differences, a better schedule, four searches."""

import copy
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.search.schedule import Schedule
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.drawn import normal
from naslora_workbook.research.operator_recovery import Garden, race

WANTED = "conv_3x3"
STILL, MOVED = "alpha is as it was", "alpha has moved"
BAR, SEEDS = 0.3, (0, 1)  # of a winner's probability, of the races in 8.2


def ex_8_1(answer):
    """Alpha's gradient by differences"""

    def case(rng):
        n = int(rng.integers(3, 8))
        answers, target = normal(rng, n, 2, 3, 4, 4), normal(rng, 2, 3, 4, 4)

        def loss(alpha):
            return (
                (torch.einsum("n,nbrhw->brhw", alpha.softmax(0), answers) - target).square().sum()
            )

        return loss, normal(rng, n), 1e-3

    def reference(loss, alpha, h):
        wanted = alpha.clone().requires_grad_()
        return [*torch.autograd.grad(loss(wanted), wanted), STILL]

    def asked(loss, alpha, h):
        before = alpha.clone()
        found = answer(loss, alpha, h)
        if found is None:
            return None
        return [found, STILL if torch.equal(alpha, before) else MOVED]

    return checks.check(
        "8.1",
        asked,
        reference,
        case,
        hint="For each entry: (loss(alpha + h e_i) - loss(alpha - h e_i)) / 2h.",
        proves="Autograd, the formula and plain differences agree on any mixture.",
        tolerance=1e-4,
        mistakes={
            (
                "A one-sided difference is wrong by about h: subtract the loss at alpha - h e_i, "
                "and divide by 2h."
            ): lambda loss, alpha, h: [_differences(loss, alpha, h, 0), STILL],
            "The distance between the two sides is 2h, so divide by 2h.": lambda loss, alpha, h: [
                2 * _differences(loss, alpha, h, h),
                STILL,
            ],
            "Your function changed alpha in place: work on a copy.": lambda loss, alpha, h: [
                _differences(loss, alpha, h, h),
                MOVED,
            ],
        },
    )


def _differences(loss, alpha: Tensor, ahead: float, behind: float) -> Tensor:
    """Differences of the loss over steps ahead and behind, by their distance."""
    steps = torch.eye(len(alpha), dtype=alpha.dtype)
    pairs = [(loss(alpha + ahead * s), loss(alpha - behind * s)) for s in steps]
    return torch.stack([(up - down) / (ahead + behind) for up, down in pairs])


def ex_8_2(answer):
    """Beat the step budget"""
    return checks.check(
        "8.2",
        lambda passes: outcome(answer(passes), passes),
        lambda passes: RIGHT,
        [(120,)],
        hint="With slow weights projection names the largest class. With fast weights alpha has no "
        "gradient left. How far alpha gets is about alpha_lr times its steps.",
        proves="Both readings agree on the plant, in both seeds. Now try it on another plant.",
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


def ex_8_3(answer):
    """Four searches, one honest"""
    cases = []
    for seed in (0, 1):
        cases += [(s, *batches(seed)) for s in suspects(seed).values()]
    return checks.check(
        "8.3",
        answer,
        reference_alarm,
        cases,
        hint="Work on copies. Adding a constant to alpha must not change the output. With a half b "
        "of zeros alpha must not move; if it moves even with both halves zero, the cause is decay.",
        proves="Your function names all three bugs, none of which stops the loss from falling.",
        mistakes={
            f"Nothing in your function finds this bug. {told}": partial(_without, bug)
            for bug, told in FINDS.items()
        }
        | {
            "Alpha moves even with both halves zero: that is decay.": partial(
                _without, "coupled decay", instead="same half"
            )
        },
    )


FINDS = {
    "no softmax": "Add a constant to alpha of a copy: with a softmax the output stays.",
    "same half": "Train a copy with a half b of zeros: alpha must not move.",
    "coupled decay": "Train a copy with both halves zero: alpha must not move.",
}


def _without(bug: str, search: nn.Module, a: tuple, b: tuple, instead: str = "honest") -> str:
    """The answer of someone who does not find this bug."""
    found = reference_alarm(search, a, b)
    return instead if found == bug else found


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
    kinds = OneHalf, Coupled, Bare, Honest
    return {
        letter: kind(torch.Generator().manual_seed(seed))
        for letter, kind in zip("ABCD", kinds, strict=True)
    }


def batches(seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Two halves (z, y), y a fixed 3 x 3 of z: `8 2 9 9`."""
    rng = np.random.default_rng(seed)
    kernel = normal(rng, 2, 2, 3, 3).float() / 3
    halves = [normal(rng, 8, 2, 9, 9).float() for _ in "AB"]
    return [(z, F.conv2d(z, kernel, padding=1)) for z in halves]
