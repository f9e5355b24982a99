"""Exercises of lesson 10: the cheapest class, genotypes that are compared."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from naslora_core.search import BlockChoice, Genotype, set_hash
from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import normal

TOLERANCE = 0.01
NAMES = ("none", "skip", "conv_1x1", "conv_3x3", "avg_pool_3x3")


def _by_place(kernel: Tensor, classes: Mapping[str, Tensor]) -> str:
    """The first class whose places hold 99 % of the energy."""
    for name, basis in classes.items():
        outside = kernel * ~(basis != 0).any(0)
        if outside.square().sum() <= TOLERANCE * kernel.square().sum():
            return name
    return "none fits"


def spans(rank: int) -> dict[str, Tensor]:
    """Of four classes the kernels `m r r 3 3` that span each, cheap ones first."""
    pairs = torch.eye(rank**2, dtype=torch.float64).view(-1, rank, rank, 1, 1)
    eye = torch.eye(rank, dtype=torch.float64).view(1, rank, rank, 1, 1)
    centre = torch.zeros(3, 3, dtype=torch.float64)
    centre[1, 1] = 1
    cross = torch.zeros(5, 3, 3, dtype=torch.float64)
    for tap, (y, x) in enumerate(((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))):
        cross[tap, y, x] = 1
    return {
        "skip": eye * centre,
        "conv_1x1": pairs * centre,
        "avg_pool_3x3": eye * torch.ones_like(centre) / 9,
        "cross": (pairs[:, None] * cross[:, None, None]).flatten(0, 1),
    }


def near(rng: np.random.Generator, name: str, noise: float, rank: int = 2) -> Tensor:
    """A kernel `r r 3 3` of a class (or of none), and noise with that share of its energy."""
    shape = rank, rank, 3, 3
    kernel = normal(rng, *shape)
    if name in spans(rank):
        basis = spans(rank)[name]
        kernel = torch.einsum("m,moiyx->oiyx", normal(rng, len(basis)), basis)
    added = normal(rng, *shape)
    return kernel + added * kernel.norm() / added.norm() * noise**0.5


def look_alikes() -> list[Tensor]:
    """Kernels that are zero where a class is, and outside of it: the places alone do not tell."""
    apart = torch.zeros(2, 2, 3, 3, dtype=torch.float64)
    apart[0, 0, 1, 1], apart[1, 1, 1, 1] = 1, -1  # at the centre, and no multiple of skip
    uneven = torch.zeros_like(apart)
    uneven[0, 0] = uneven[1, 1] = torch.arange(9.0).view(3, 3)  # each channel by itself, no mean
    return [apart, uneven]


def cheapest(kernel: Tensor, classes: Mapping[str, Tensor], tolerance: float = TOLERANCE) -> str:
    """The reference of 10.1: the first class that leaves at most `tolerance`, or "none fits"."""
    k = kernel.flatten()[:, None]
    for name, basis in classes.items():
        A = basis.flatten(1).T
        left = k - A @ torch.linalg.lstsq(A, k).solution
        if left.square().sum() <= tolerance * k.square().sum():
            return name
    return "none fits"


@exercise(
    "The cheapest class",
    cheapest,
    best_fit=lambda kernel, classes: list(classes)[-1],
    norms=lambda kernel, classes: cheapest(kernel, classes, TOLERANCE**2),
    by_place=_by_place,
    no_words=lambda kernel, classes: cheapest(kernel, classes).replace("none fits", "cross"),
)
def ex_10_1():
    rng, names = np.random.default_rng(0), (*spans(2), "nothing")
    kernels = [near(rng, name, noise) for name in names for noise in (0.003, 0.05)]
    return [(kernel, spans(2)) for kernel in (*kernels, *look_alikes())]


def distance(one: Genotype, other: Genotype) -> float:
    """Half the sum over operators of |p - q|, mean over blocks: 0 the same, 1 nothing shared."""
    return _mean_gap(_by_name(one, other))


def _by_name(one: Genotype, other: Genotype) -> list[tuple[dict, dict]]:
    """Probabilities by operator of the blocks that have one name."""
    theirs = {block.block: named(block, other) for block in other.blocks}
    return [(named(block, one), theirs[block.block]) for block in one.blocks]


def _mean_gap(pairs: list[tuple[dict, dict]], both: bool = True) -> float:
    """Of pairs of probabilities by operator; both: over the operators of both, or of the first."""
    gaps = [
        sum(abs(p.get(n, 0) - q.get(n, 0)) for n in (p | q if both else p)) / 2 for p, q in pairs
    ]
    return float(np.mean(gaps))


def _by_places(one: Genotype, other: Genotype) -> float:
    pairs = zip(one.blocks, other.blocks, strict=True)
    return np.mean([np.abs(np.subtract(a.probability, b.probability)).sum() / 2 for a, b in pairs])


def _blocks_by_place(one: Genotype, other: Genotype) -> float:
    pairs = zip(one.blocks, other.blocks, strict=True)
    return _mean_gap([(named(a, one), named(b, other)) for a, b in pairs])


def named(block: BlockChoice, genotype: Genotype) -> Mapping[str, float]:
    """A block's probabilities by operator."""
    return dict(zip(genotype.operators, block.probability, strict=True))


def reordered(genotype: Genotype) -> Genotype:
    """The same search with operators and blocks listed backwards."""
    names = genotype.operators[::-1]
    blocks = [
        replace(b, alpha=b.alpha[::-1], probability=b.probability[::-1])
        for b in genotype.blocks[::-1]
    ]
    return replace(genotype, operators=names, operator_hash=set_hash(tuple(names)), blocks=blocks)


def without_none(genotype: Genotype) -> Genotype:
    """The same blocks, renormalised over all operators but the first."""
    names, blocks = genotype.operators[1:], []
    for b in genotype.blocks:
        rest = np.array(b.probability[1:]) / sum(b.probability[1:])
        blocks.append(replace(b, alpha=b.alpha[1:], probability=rest.tolist()))
    return replace(genotype, operators=names, operator_hash=set_hash(tuple(names)), blocks=blocks)


def drawn(seed: int, blocks: int = 3) -> Genotype:
    """A genotype of random alphas."""
    rng, found = np.random.default_rng(seed), []
    for number in range(blocks):
        alpha = normal(rng, len(NAMES))
        p = alpha.softmax(0).tolist()
        winner = NAMES[int(alpha.argmax())]
        found.append(
            BlockChoice(f"block {number}", alpha.tolist(), p, winner, None, {}, 0.0, 0.0),
        )
    return Genotype(list(NAMES), set_hash(NAMES), found, "beside", "joint", "drawn", seed)


@exercise(
    "Two genotypes, one search",
    distance,
    blocks_by_place=_blocks_by_place,
    one_sided=lambda one, other: _mean_gap(_by_name(one, other), both=False),
    doubled=lambda one, other: 2 * distance(one, other),
    all_by_place=_by_places,
)
def ex_10_2():
    cases = []
    for seed in range(3):
        one, other = drawn(seed), drawn(seed + 10)
        cases += [(one, other), (one, reordered(one)), (reordered(one), other)]
    return [*cases, (drawn(0), without_none(drawn(1))), (without_none(drawn(1)), drawn(0))]
