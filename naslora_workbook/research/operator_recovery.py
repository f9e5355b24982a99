"""Searches with a known answer: plant one operator in a teacher, search, see whether it is found.

The right answer is not the planted name but the cheapest class that can express the teacher (a
1 x 1 kernel may happen to be a multiple of the identity), so every class is first fitted to every
teacher in closed form. Then a cell learns the teacher's outputs, noise on them, from scratch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.errors import UserError
from naslora_core.search.cell import Cell
from naslora_core.search.operator_registry import build, operator_names
from naslora_core.search.projection import explain, project
from naslora_core.search.schedule import Schedule, named_schedule

LARGEST = 5  # side of the largest kernel
PLANTS = tuple(n for n in operator_names("linear") if n != "none")  # nothing cannot be imitated


@dataclass(frozen=True)
class Garden:
    """How a race is run: rank r of z, side of its map, maps a batch, noise (share of the teacher's
    standard deviation), the cell's start, schedule, steps and rates."""

    rank: int = 4
    side: int = 16
    batch: int = 16
    noise: float = 0.1
    start: str = "beside"
    schedule: str = "joint"
    steps: int = 300
    lr: float = 0.01
    alpha_lr: float = 0.02


@dataclass(frozen=True)
class Race:
    """One search: what was planted, the cheapest class that fits it, and both readings.

    history: of every 20th step its number, loss, softmax of alpha and both readings; way: alpha's
    softmax after every step, `steps n`, of a search of now.
    """

    planted: str
    seed: int
    cheapest: str
    projection: str | None
    argmax: str
    residual: dict[str, float]
    history: list[dict] = field(repr=False, default_factory=list)
    place: str = "cell"
    way: np.ndarray | None = field(repr=False, compare=False, default=None)

    def hit(self, reading: str) -> bool:
        """Whether "projection" or "argmax" names the cheapest class that fits."""
        return getattr(self, reading) == self.cheapest

    def steps_to(self, reading: str) -> int | None:
        """The step from which on a reading stays right; None where it ends wrong."""
        wrong = [e["step"] for e in self.history if e[reading] != self.cheapest]
        if not self.hit(reading):
            return None
        return next((e["step"] for e in self.history if not wrong or e["step"] > wrong[-1]), None)


def features(garden: Garden, seed: int, step: int) -> Tensor:
    """z `B r H W` of a step: noise whose neighbours and channels correlate."""
    g = torch.Generator().manual_seed(1_000_003 * seed + step)
    shape = (garden.batch, garden.rank, garden.side, garden.side)
    z = torch.randn(shape, generator=g)
    mix = torch.randn(garden.rank, garden.rank, generator=torch.Generator().manual_seed(seed))
    z = 0.7 * z + 1.5 * F.avg_pool2d(z, 3, 1, 1)
    return torch.einsum("oi,bihw->bohw", mix / garden.rank**0.5, z)


def teacher(name: str, garden: Garden, seed: int) -> Tensor:
    """The kernel `r r k k` of one operator with random weights, of unit output on z."""
    if name not in PLANTS:
        raise UserError(f"{name!r} cannot be planted; choose one of {', '.join(PLANTS)}.")
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(10_007 * seed + PLANTS.index(name))
        kernel = build((name,), garden.rank)[0].kernel()
        z = features(garden, seed, 0)
        kernel = kernel / convolve(kernel, z).std()
    return F.pad(kernel, ((LARGEST - kernel.shape[-1]) // 2,) * 4)


def convolve(kernel: Tensor, z: Tensor) -> Tensor:
    """K * z, zeros beyond the border."""
    return F.conv2d(z, kernel, padding=kernel.shape[-1] // 2)


def race(name: str, seed: int, garden: Garden = Garden()) -> Race:
    """Plant `name`, search for it from scratch, read the cell."""
    kernel, schedule, history, way = teacher(name, garden, seed), plan(garden), [], []
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        cell = Cell(garden.rank, "linear", garden.start)
    for step, moves, loss in search(cell, partial(lesson, kernel, garden, seed), schedule):
        way.append(cell.probabilities().detach().double().numpy())
        if step % 20 == 0 or step == schedule.steps:
            read = project(cell, features(garden, seed, step))
            event = {"step": step, "moved": moves, "loss": loss, "argmax": read.argmax}
            p = cell.probabilities().tolist()
            history.append(event | {"projection": read.projection, "probability": p})
    z = features(garden, seed, 0)
    found = {"cheapest": explain(kernel, cell.operators, z)[0], "way": np.stack(way)}
    read = project(cell, z)
    found |= {"projection": read.projection, "argmax": read.argmax, "residual": read.residual}
    return Race(name, seed, history=history, **found)


def plan(setting) -> Schedule:
    """The schedule that a `Garden`, or whatever has its fields, describes."""
    s = setting
    return named_schedule(s.schedule, s.steps, s.lr, searches=True, alpha_lr=s.alpha_lr)


def lesson(kernel: Tensor, garden: Garden, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """z of a step and what the teacher makes of it, with noise."""
    z = features(garden, seed, step)
    g = torch.Generator().manual_seed(7 * step + 5)
    y = convolve(kernel, z)
    return z, y + garden.noise * torch.randn(y.shape, generator=g)


def search(model: nn.Module, draw: Callable, schedule: Schedule) -> Iterator[tuple]:
    """Train what is free in `model` on draw(step) = (x, y): (step, what moved, loss) of each.

    Of a stage steps, moves and rates count: every step draws data of its own, so there are no
    halves to keep apart; decay is AdamW's own.
    """
    free = {n: p for n, p in model.named_parameters() if p.requires_grad}
    alphas = [p for n, p in free.items() if n.endswith("arch_alpha")]
    weights = [p for n, p in free.items() if not n.endswith("arch_alpha")]
    groups = {
        "weights": torch.optim.AdamW(weights),
        "alpha": torch.optim.AdamW(alphas, betas=(0.5, 0.999)) if alphas else None,
    }
    timeline = schedule.timeline
    for step, (stage, done) in enumerate(timeline):
        moves, (x, y) = stage.moves_at(done)[0], draw(step)
        loss = F.mse_loss(model(x), y)
        model.zero_grad()
        loss.backward()
        falling = min(1, 2 - 2 * step / len(timeline))  # over the second half
        for kind in moves:
            rate = stage.alpha_lr if kind == "alpha" else stage.lr * falling
            groups[kind].param_groups[0]["lr"] = rate
            groups[kind].step()
        yield step + 1, "+".join(moves), loss.item()


def matrix(garden: Garden, seed: int) -> dict[str, dict[str, float]]:
    """{teacher: {class: share of the teacher's energy that its best member leaves}}."""
    operators, z = build(operator_names("linear"), garden.rank), features(garden, seed, 0)
    return {n: explain(teacher(n, garden, seed), operators, z)[1] for n in PLANTS}
