"""Exercises of lesson 12: a formula for two methods, a paired bootstrap, a table that flatters."""

from collections import defaultdict
from functools import partial

import numpy as np
import torch
from torch import nn

from naslora_core.adapters import ConvLoRA
from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import integers
from naslora_workbook.research.methods import VPT

ENDS = 0.025, 0.975  # of a 95 % interval


def _conv(gates: int = 2, outputs: int = 3, square: bool = True):
    """The answer of 12.1 with a wrong count of Conv-LoRA."""

    def wrong(d, L, p, r, M):
        experts = M * (9 * r * (r if square else 1) + r)
        return L * p * d, L * ((1 + outputs) * r * d + experts + gates * r * M)

    return wrong


def counted(d: int, depth: int, tokens: int, rank: int, experts: int) -> dict[str, int]:
    """What the modules themselves hold, on the meta device."""
    with torch.device("meta"):
        path = ConvLoRA(rank=rank, experts=experts).wrap(nn.Linear(d, 3 * d))
        patches = nn.Conv2d(3, d, 16)
        prompts = VPT(tokens=tokens).start(patches).numel()
    path.base.requires_grad_(False)
    conv = sum(p.numel() for p in path.parameters() if p.requires_grad)
    return {"VPT": depth * prompts, "Conv-LoRA": depth * conv}


@exercise(
    "Count VPT and Conv-LoRA from their formulas",
    lambda *sizes: counted(*sizes).values(),
    seen=lambda count, *sizes: "VPT {}, Conv-LoRA {}".format(*count(*sizes)),
    without_gate=_conv(gates=0),
    one_gate_short=_conv(gates=1),
    wd_to_d=_conv(outputs=1),
    nine_r=_conv(square=False),
    one_block=lambda d, L, p, r, M: counted(d, 1, p, r, M).values(),
)
def ex_12_1(rng):
    d, *others = integers(rng, (2, 80), (2, 40), (1, 20), (1, 9), (1, 9))
    return 16 * d, *others


def _means(scores: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """The mean score `seeds images` of every draw of images."""
    return scores.mean(0)[picks].mean(1)


def paired_ends(a: np.ndarray, b: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """Ends of the 95 % interval of mean(a - b), `seeds images`, for drawn images `draws n`."""
    return np.quantile(_means(a - b, picks), ENDS)


@exercise(
    "A paired bootstrap over images",
    paired_ends,
    unpaired=lambda a, b, picks: np.quantile(_means(a, picks) - _means(b, picks[::-1]), ENDS),
    ninety_percent=lambda a, b, picks: np.quantile(_means(a - b, picks), [0.05, 0.95]),
    single_images=lambda a, b, picks: np.quantile((a - b).mean(0)[picks], ENDS),
    turned_round=lambda a, b, picks: paired_ends(b, a, picks),
)
def ex_12_2(rng):
    hard = rng.uniform(0, 0.8, 30)  # what both find easy or hard
    a, b = hard + rng.normal(0, 0.05, (2, 3, 30)) + np.array([0.03, 0])[:, None, None]
    return a, b, rng.integers(30, size=(200, 30))


def reported(
    records: list[dict], by: str = "val", failed: bool = True, told: str = "test"
) -> dict[str, float]:
    """Mean score of every method at its rate of the best mean `by`; failed: whether 0 counts."""
    tried = defaultdict(lambda: defaultdict(list))
    for r in records:
        if failed or r["test"] > 0:
            tried[r["method"]][r["lr"]].append((r[by], r[told]))
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


@exercise(
    "The table that flatters",
    reported,
    test_chooses=partial(reported, by="test"),
    failed_left_out=partial(reported, failed=False),
    both=partial(reported, by="test", failed=False),
    validation_reported=partial(reported, told="val"),
)
def ex_12_3(rng):
    return (runs(rng),)
