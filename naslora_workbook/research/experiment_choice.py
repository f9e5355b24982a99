"""What is done with a search's result: genotypes of other runs, and alpha with a price.

A genotype comes from the recorded searches at rate .003 ("variants/rate": camouflage and polyp,
three seeds). `none` beside a skip is that skip alone.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from naslora_core.adapters import ChosenLoRA, NASLoRA
from naslora_core.search import OPERATOR_SETS, Cell
from naslora_workbook.results.records import recorded

DOMAINS = ("camouflage", "polyp")


@cache
def genotype(domain: str, seed: int) -> tuple[str, ...]:
    """The operator of the largest alpha in every block of a recorded search."""
    runs = [r for r in recorded("variants/rate") if r["method"] == "nas_lora"]
    run = next(r for r in runs if (r["data"], r["seed"]) == (domain, seed))
    return tuple(_beside_a_skip(b["argmax"]) for b in run["genotype"]["blocks"])


def _beside_a_skip(name: str) -> str:
    return "skip" if name == "none" else name


def _chosen(names) -> ChosenLoRA:
    return ChosenLoRA(rank=4, chosen=tuple(names))


def genotype_of(same: bool):
    """A function of domain and seed: the genotype of this domain, or of the other one."""

    def choose(domain: str, seed: int) -> ChosenLoRA:
        other = next(d for d in DOMAINS if d != domain)
        return _chosen(genotype(domain if same else other, seed))

    return choose


def shuffled_genotype(domain: str, seed: int) -> ChosenLoRA:
    """The domain's own genotype, its blocks permuted."""
    names = genotype(domain, seed)
    return _chosen(names[int(i)] for i in np.random.default_rng(seed).permutation(len(names)))


def random_genotype(domain: str, seed: int) -> ChosenLoRA:
    """An operator of the linear set for every block, drawn by the seed."""
    blocks = len(genotype(domain, seed))
    drawn = np.random.default_rng([seed, 1]).choice(OPERATOR_SETS["linear"], blocks)
    return _chosen(_beside_a_skip(str(name)) for name in drawn)


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
