"""Exercises of lesson 12: a formula for two methods, a paired bootstrap, a table that flatters."""

from collections import defaultdict

import numpy as np
import torch
from torch import nn

from naslora_core.adapters import ConvLoRA
from naslora_workbook.lessons import checks
from naslora_workbook.research.methods import VPT


def ex_12_1(answer):
    """Count VPT and Conv-LoRA from their formulas"""

    def case(rng):
        d, depth = 16 * int(rng.integers(2, 80)), int(rng.integers(2, 40))
        return d, depth, *(int(n) for n in (rng.integers(1, 20), *rng.integers(1, 9, 2)))

    return checks.check(
        "12.1",
        lambda *sizes: _named(answer(*sizes)),
        lambda *sizes: _named(counted(*sizes).values()),
        case,
        hint="In a block: VPT has its tokens. Conv-LoRA has We and Wd (to 3 d outputs), M "
        "convolutions r -> r of 3 x 3 with a bias, and two gate matrices r x M.",
        proves="Your formula counts what the modules hold, for any width, depth and rank.",
        mistakes={
            "Conv-LoRA's gate is missing: two matrices r x M in every block.": _conv(gates=0),
            "r M numbers are missing: the biases of the M convolutions, or the second gate matrix "
            "(it sets the noise).": _conv(gates=1),
            "Wd has 3 d outputs: We and Wd hold 4 r d together.": _conv(outputs=1),
            "Each of the M convolutions has 9 r r weights, not 9 r.": _conv(square=False),
            "Both counts are those of one block: multiply by L.": (
                lambda d, L, p, r, M: _named(counted(d, 1, p, r, M).values())
            ),
        },
    )


def _conv(gates: int = 2, outputs: int = 3, square: bool = True):
    """The answer of 12.1 with a wrong count of Conv-LoRA."""

    def wrong(d, L, p, r, M):
        experts = M * (9 * r * (r if square else 1) + r)
        return _named((L * p * d, L * ((1 + outputs) * r * d + experts + gates * r * M)))

    return wrong


def _named(numbers) -> str:
    """The pair with names, so that the check says which of them is wrong."""
    return "VPT {}, Conv-LoRA {}".format(*numbers)


def counted(d: int, depth: int, tokens: int, rank: int, experts: int) -> dict[str, int]:
    """What the modules themselves hold, on the meta device."""
    with torch.device("meta"):
        path = ConvLoRA(rank=rank, experts=experts).wrap(nn.Linear(d, 3 * d))
        patches = nn.Conv2d(3, d, 16)
        prompts = VPT(tokens=tokens).start(patches).numel()
    path.base.requires_grad_(False)
    conv = sum(p.numel() for p in path.parameters() if p.requires_grad)
    return {"VPT": depth * prompts, "Conv-LoRA": depth * conv}


def ex_12_2(answer):
    """A paired bootstrap over images"""

    def case(rng):
        hard = rng.uniform(0, 0.8, 30)  # what both find easy or hard
        a, b = hard + rng.normal(0, 0.05, (2, 3, 30)) + np.array([0.03, 0])[:, None, None]
        return a, b, rng.integers(30, size=(200, 30))

    return checks.check(
        "12.2",
        answer,
        paired_ends,
        case,
        hint="Take the difference, its mean over seeds, one mean for each draw, and then the "
        "quantiles .025 and .975.",
        proves="Hard images are hard for both, and the difference removes them.",
        mistakes={
            "a and b got different images: take the difference before you draw.": _unpaired,
            "A 95 % interval leaves 2.5 % on each side: the quantiles .025 and .975.": (
                lambda a, b, picks: np.quantile(_means(a, b, picks), [0.05, 0.95])
            ),
            "These are quantiles of single images; take the mean of each draw first.": (
                lambda a, b, picks: np.quantile((a - b).mean(0)[picks], [0.025, 0.975])
            ),
            "This is b - a; the gain of a over b is a - b.": (
                lambda a, b, picks: paired_ends(b, a, picks)
            ),
        },
    )


def _means(a: np.ndarray, b: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """The mean difference of every draw."""
    return (a - b).mean(0)[picks].mean(1)


def _unpaired(a: np.ndarray, b: np.ndarray, picks: np.ndarray) -> np.ndarray:
    means = a.mean(0)[picks].mean(1) - b.mean(0)[picks[::-1]].mean(1)
    return np.quantile(means, [0.025, 0.975])


def paired_ends(a: np.ndarray, b: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """Ends of the 95 % interval of mean(a - b), `seeds images`, for drawn images `draws n`."""
    return np.quantile(_means(a, b, picks), [0.025, 0.975])


def ex_12_3(answer):
    """The table that flatters"""
    return checks.check(
        "12.3",
        answer,
        reported,
        lambda rng: (runs(rng),),
        hint="Which split may choose the rate? Which runs count?",
        proves="A method with more rates, or with more failed runs, no longer looks better.",
        mistakes={
            "The failed runs count now. But the test split still chooses the rate.": (
                lambda records: _reported(records, by="test", failed=True)
            ),
            "The validation split chooses the rate now. But runs that failed are left out.": (
                lambda records: _reported(records, by="val", failed=False)
            ),
            "Nothing has changed yet: the test split chooses, and failed runs are left out.": (
                lambda records: _reported(records, by="test", failed=False)
            ),
            "The right rate is chosen. But its validation score is reported, not its test score.": (
                lambda records: _reported(records, by="val", failed=True, told="val")
            ),
        },
    )


def _reported(records: list[dict], by: str, failed: bool, told: str = "test") -> dict[str, float]:
    """Mean score of every method at its rate of the best mean `by`; failed: whether 0 counts."""
    tried = defaultdict(lambda: defaultdict(list))
    for r in records:
        if failed or r["test"] > 0:
            tried[r["method"]][r["lr"]].append((r[by], r[told]))
    return {
        m: float(max(np.mean(v, 0).tolist() for v in of.values())[1]) for m, of in tried.items()
    }


def reported(records: list[dict]) -> dict[str, float]:
    """Mean test IoU of every method at the rate of its best mean validation IoU."""
    return _reported(records, by="val", failed=True)


def runs(rng: np.random.Generator, tries: tuple[int, ...] = (2, 3, 4, 8)) -> list[dict]:
    """Runs of methods that are equal in truth: three seeds at every rate, some runs break."""
    rates = [10.0**-i for i in range(1, 9)]
    records = []
    for method, count in zip("abcdefgh", tries, strict=False):
        for lr in rates[:count]:
            for seed in range(3):
                broken = rng.random() < 0.15
                val, test = (0.0, 0.0) if broken else 0.5 + 0.05 * rng.normal(size=2)
                row = {"method": method, "lr": lr, "seed": seed}
                records.append(row | {"val": float(val), "test": float(test)})
    return records
