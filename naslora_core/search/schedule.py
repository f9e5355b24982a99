"""When weights move and when alpha does: stages in steps, and what a search can decide in them.

A step is one batch, forward and backward, whether it moves weights or alpha; so a schedule's cost
in passes is its steps times the batch, alpha's included.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from naslora_core.errors import fault, known

ALPHA_LR = 0.02
MOVES = ("weights", "alpha", "both", "alternate")
GROWTH = 2  # gradients that grow carry alpha about twice as far as steady ones
DECISION = 0.3  # a winner's probability below which a search has hardly decided


@dataclass(frozen=True)
class Stage:
    """steps; moves: "weights", "alpha", "both" at once, or "alternate" (weights on half A of the
    images, then alpha on half B, and so on from the stage's first step); learning rates and
    decoupled weight decays."""

    name: str
    steps: int
    moves: str
    lr: float
    alpha_lr: float = ALPHA_LR
    weight_decay: float = 1e-4
    alpha_weight_decay: float = 1e-3

    def __post_init__(self):
        if self.moves not in MOVES or self.steps < 0:
            given = f"has moves={self.moves!r} and steps={self.steps}"
            expected = f"moves of {', '.join(MOVES)}, and steps from 0"
            raise fault(f"Stage {self.name!r}", given, expected, "change them")

    def moves_at(self, done: int) -> tuple[Sequence[str], str | None]:
        """What moves at the stage's step number `done`, from 0, and on which half of the images
        (None: all)."""
        if self.moves == "alternate":
            return (("alpha",), "B") if done % 2 else (("weights",), "A")
        return (("weights", "alpha") if self.moves == "both" else (self.moves,)), None

    @property
    def alpha_steps(self) -> int:
        """How often alpha moves."""
        return {"alternate": self.steps // 2, "weights": 0}.get(self.moves, self.steps)


@dataclass(frozen=True)
class Schedule:
    """A name and its stages, and how AdamW moves in all of them.

    warmup: share of the steps over which the weights' learning rate rises to its stage's; decay:
    share at the end over which it falls to zero; clip: the longest gradient of a group, None for
    any; betas and alpha_betas: AdamW's, of weights and (first-order DARTS) of alpha.
    """

    name: str
    stages: tuple[Stage, ...]
    warmup: float = 0.05
    decay: float = 0.9
    clip: float | None = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    alpha_betas: tuple[float, float] = (0.5, 0.999)

    def __post_init__(self):
        if not (0 <= self.warmup <= 1 and 0 <= self.decay <= 1):
            given = f"has warmup={self.warmup} and decay={self.decay}"
            expected = "shares of the steps, from 0 to 1"
            raise fault(f"Schedule {self.name!r}", given, expected, "change them")

    def lr_factor(self, step: int) -> float:
        """What the weights' learning rate is multiplied with at a step, from 0: 0..1."""
        total = self.steps
        rising = (step + 1) / (self.warmup * total) if self.warmup else 1
        falling = (total - step) / (self.decay * total) if self.decay else 1
        return min(1, rising, falling)

    @property
    def steps(self) -> int:
        """Steps of all stages, alpha's included."""
        return sum(s.steps for s in self.stages)

    @property
    def timeline(self) -> list[tuple[Stage, int]]:
        """Of every step its stage, and how many of the stage's steps are done before it."""
        return [(stage, done) for stage in self.stages for done in range(stage.steps)]

    @property
    def alpha_steps(self) -> int:
        """Steps that move alpha."""
        return sum(s.alpha_steps for s in self.stages)


def stage_wise(steps: int, lr: float, alpha_lr: float = ALPHA_LR) -> Schedule:
    """Warm-up (weights) a fifth, search (weights and alpha) a half, settle (weights) the rest."""
    warm, search = steps // 5, steps // 2
    stages = (
        Stage("warm-up", warm, "weights", lr, alpha_lr),
        Stage("search", search, "both", lr, alpha_lr),
        Stage("settle", steps - warm - search, "weights", lr, alpha_lr),
    )
    return Schedule("stage-wise", stages)


def joint(steps: int, lr: float, alpha_lr: float = ALPHA_LR) -> Schedule:
    """Weights and alpha move together on every pass."""
    return Schedule("joint", (Stage("joint", steps, "both", lr, alpha_lr),))


def bilevel(steps: int, lr: float, alpha_lr: float = ALPHA_LR) -> Schedule:
    """First-order DARTS: weights on one half, alpha on the other, in turn, to the end."""
    return Schedule("bilevel", (Stage("search", steps, "alternate", lr, alpha_lr),))


def weights_only(steps: int, lr: float) -> Schedule:
    """What every method without alpha does."""
    return Schedule("weights", (Stage("train", steps, "weights", lr),))


SCHEDULES = {"stage-wise": stage_wise, "joint": joint, "bilevel": bilevel, "weights": weights_only}


def named_schedule(
    schedule: str | Schedule, steps: int, lr: float, searches: bool, alpha_lr: float = ALPHA_LR
) -> Schedule:
    """A Schedule as it is, or the named one of this length; without alpha only weights move.

    Raises UserError for an unknown name, and for a Schedule that moves an alpha there is not.
    """
    if isinstance(schedule, Schedule):
        if schedule.alpha_steps and not searches:
            given, remedy = "moves alpha, which this method lacks", "use weights_only(steps, lr)"
            raise fault(f"Schedule {schedule.name!r}", given, "stages of weights", remedy)
        return schedule
    known(schedule, SCHEDULES, "Unknown schedule")
    if not searches or schedule == "weights":
        return weights_only(steps, lr)
    return SCHEDULES[schedule](steps, lr, alpha_lr)


def budget(schedule: Schedule, operators: int) -> str:
    """What this schedule can decide, in plain words (an estimate, see `winner_probability`)."""
    moving = [s for s in schedule.stages if s.alpha_steps]
    if not moving:
        return f"{schedule.name}: alpha never moves, so nothing is searched."
    path = sum(s.alpha_steps * s.alpha_lr for s in moving)
    sure, hoped = winner_probability(path, operators), winner_probability(GROWTH * path, operators)
    rates = " and ".join(f"{r:g}" for r in sorted({s.alpha_lr for s in moving}))
    advice = " A decision is unlikely: take more steps or a larger alpha_lr."
    return (
        f"{schedule.alpha_steps} alpha steps at {rates}: about {sure:.2f} for the winner of "
        f"{operators} under steady gradients, up to about {hoped:.2f} under growing ones; "
        f"uniform is {1 / operators:.2f}.{'' if sure >= DECISION else advice}"
    )


def winner_probability(path: float, operators: int) -> float:
    """Probability of the winner when Adam moves each alpha by `path` = steps x lr in all: under a
    steady gradient the winner rises by lr a step and the others fall by lr."""
    return 1 / (1 + (operators - 1) * math.exp(-min(2 * path, 50)))
