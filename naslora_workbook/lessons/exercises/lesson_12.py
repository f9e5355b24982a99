"""Exercises of lesson 12: a formula for two methods, a paired bootstrap, a table that flatters."""

from collections import defaultdict

import numpy as np
import torch
from torch import nn

from naslora_core.adapters import VPT, ConvLoRA
from naslora_workbook.lessons import checks


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
        proves="Your formula counts what the modules hold, at any width, depth, rank.",
    )


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
        hint="One difference an image (mean over seeds first), one mean a draw, and then the "
        "quantiles .025 and .975 of these means. Both methods get the same drawn images.",
        proves="Hard images are hard for both, and leave the difference before they can blur it.",
    )


def paired_ends(a: np.ndarray, b: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """Ends of the 95 % interval of mean(a - b), `seeds images`, for drawn images `draws n`."""
    return np.quantile((a - b).mean(0)[picks].mean(1), [0.025, 0.975])


def ex_12_3(answer):
    """The table that flatters"""
    return checks.check(
        "12.3",
        answer,
        reported,
        lambda rng: (runs(rng),),
        hint="A rate is chosen by the mean of val, the mean of test is reported for that rate "
        "alone, and a run that broke is a run: its 0 counts in both.",
        proves="Whoever tries more rates, or breaks more often, no longer looks better for it.",
    )


def reported(records: list[dict]) -> dict[str, float]:
    """Mean test IoU of every method at the rate of its best mean validation IoU."""
    tried = defaultdict(lambda: defaultdict(list))
    for r in records:
        tried[r["method"]][r["lr"]].append((r["val"], r["test"]))
    return {
        m: float(max(np.mean(v, 0).tolist() for v in of.values())[1]) for m, of in tried.items()
    }


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
