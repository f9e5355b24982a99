"""Operators and methods that only the experiments use; importing this registers them.

The permutations are candidates that hurt. `tapwise_5x5` is the default cell at
uniform alpha written as one free kernel. A genotype comes from the recorded searches at rate .003
("variants/rate": two domains, three seeds; of `neighbours`, from its own searches, which are run
and packed first).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from naslora_core.adapters import ChosenLoRA, LoRA, NASLoRA
from naslora_core.adapters.lora import LoRALinear
from naslora_core.search import OPERATOR_SETS, Cell
from naslora_core.search.operators import Operator, operator
from naslora_workbook.results.records import recorded

BAD = tuple(f"permutation_{i}" for i in range(12))


class Permutation(Operator):
    """The tokens of a map in another, fixed order: a candidate that cannot help."""

    number = 0

    def forward(self, z: Tensor) -> Tensor:
        g = torch.Generator().manual_seed(self.number)
        order = torch.randperm(z.shape[-2] * z.shape[-1], generator=g)
        return z.flatten(2)[..., order].view_as(z)


for _number, _name in enumerate(BAD):
    operator(_name)(type(f"Permutation{_number}", (Permutation,), {"number": _number}))


def tap_rates() -> Tensor:
    """Step of every tap of the default cell's mixed kernel, in steps of a free kernel, `5 5`.

    Measured (`experiment_findings taps`): a dense operator moves its taps by 1 / 3, separable ones
    by a little more.
    """
    rates = torch.full((5, 5), 0.37)
    rates[::2, ::2] = 0.70  # dilated taps
    rates[1:4, 1:4] = 0.75  # inner ring
    rates[2, 2] = 1.42
    return rates


@operator("equal_5x5")
class Free(Operator):
    """One free 5 x 5 with the start of the default cell; `rates`: the step of every tap."""

    side = 5
    rates = torch.ones(5, 5)

    def __init__(self, rank: int):
        super().__init__(rank)
        cell = Cell(rank, "linear", "beside")  # the same draws as the default cell
        start = (cell.kernel() - cell.beside).detach()
        self.weight = nn.Parameter(start / self.rates)

    def kernel(self) -> Tensor:
        return self.weight * self.rates

    def macs(self) -> int:
        return 25 * self.rank**2


@operator("tapwise_5x5")
class Tapwise(Free):
    """Taps at the rates that the default cell gives them."""

    rates = tap_rates()


class Volume:
    """A method with one learned gain exp(pace v) on the path of every adapted Linear.

    pace 7 lets log(gain) move by about .02 a step at a weight rate of .003, as fast as alpha does;
    at .001 that takes a pace of 20.
    """

    pace = 7.0

    def inject(self, encoder: nn.Module) -> None:
        super().inject(encoder)
        for layer in [m for m in encoder.modules() if isinstance(m, LoRALinear)]:
            nn.utils.parametrize.register_parametrization(layer, "Wd", Gain(self.pace))


class Gain(nn.Module):
    """x -> exp(pace v) x, v = 0 at first."""

    def __init__(self, pace: float):
        super().__init__()
        self.pace = pace
        self.v = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return (self.pace * self.v).exp() * x

    def right_inverse(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class VolumeLoRA(Volume, LoRA):
    """LoRA with a learned gain a block."""


@dataclass(frozen=True)
class VolumeNASLoRA(Volume, NASLoRA):
    """NAS-LoRA with a learned gain a block."""

    pace: float = 7.0


def gains(model: nn.Module) -> list[float]:
    """The learned gains of a model, block by block; none where it has none."""
    found = [m for m in model.modules() if isinstance(m, Gain)]
    return [round((m.pace * m.v).exp().item(), 3) for m in found]


def slower_decoder(model: nn.Module, ratio: float):
    """A listener for `fit` that gives what is trained outside the encoder `ratio` of the rate.

    AdamW's step is the rate times something, so a share of the step is a share of the rate.
    """
    outside = [p for n, p in model.trainable().items() if "image_encoder" not in n]
    before = [p.detach().clone() for p in outside]

    @torch.no_grad()
    def listen(event: dict) -> None:
        for p, old in zip(outside, before, strict=True):
            p.copy_(old + ratio * (p - old))
            old.copy_(p)

    return listen


@cache
def genotypes() -> dict[tuple[str, int], tuple[str, ...]]:
    """(domain, seed) -> the operator of the largest alpha in every block of a recorded search."""
    runs = [r for r in recorded("variants/rate") if r["method"] == "nas_lora"]
    own = [r for r in recorded("experiments/heterogeneous") if r["arm"] == "searched_100_steps"]
    blocks = {(r["data"], r["seed"]): r["genotype"]["blocks"] for r in runs}
    found = {key: tuple(b["argmax"] for b in read) for key, read in blocks.items()}
    return found | {(r["domain"], r["seed"]): tuple(r["argmax"]) for r in own}


def genotype(domain: str, seed: int) -> tuple[str, ...]:
    """The recorded genotype of a domain's search."""
    return genotypes()[domain, seed]


def _chosen(names: Iterable[str]) -> ChosenLoRA:
    """LoRA with these operators; `none` beside a skip is that skip alone."""
    return ChosenLoRA(rank=4, chosen=tuple("skip" if n == "none" else str(n) for n in names))


def own_genotype(domain: str, seed: int) -> ChosenLoRA:
    """The genotype of this domain."""
    return _chosen(genotype(domain, seed))


def other_genotype(domain: str, seed: int) -> ChosenLoRA:
    """The genotype of the other recorded domain."""
    return _chosen(genotype({"camouflage": "polyp", "polyp": "camouflage"}[domain], seed))


def shuffled_genotype(domain: str, seed: int) -> ChosenLoRA:
    """The domain's own genotype, its blocks permuted."""
    names = genotype(domain, seed)
    return _chosen(names[i] for i in np.random.default_rng(seed).permutation(len(names)))


def random_genotype(domain: str, seed: int) -> ChosenLoRA:
    """An operator of the linear set for every block, drawn by the seed."""
    blocks = len(genotype(domain, seed))
    return _chosen(np.random.default_rng([seed, 1]).choice(OPERATOR_SETS["linear"], blocks))


class PricedCell(Cell):
    """A cell that adds price x (expected multiply-adds / those of the dearest operator)."""

    price = 0.0

    @property
    def auxiliary_loss(self) -> Tensor:
        macs = torch.tensor([float(op.macs()) for op in self.operators])
        return self.price * (self.probabilities() * macs / macs.max()).sum()


@dataclass(frozen=True)
class PricedNASLoRA(NASLoRA):
    """NAS-LoRA with a price on the multiply-adds of its cells."""

    price: float = 0.1

    def cell(self) -> nn.Module:
        cell = PricedCell(self.rank, self.operators, self.start)
        cell.price = self.price
        return cell
