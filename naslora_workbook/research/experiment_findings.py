"""What the records of the repository already say about alpha and projection, by command.

python -m naslora_workbook.research.experiment_findings field
"""

import json
import sys
from collections import Counter
from functools import partial

import numpy as np
import torch

from naslora_core.search import Cell
from naslora_workbook.lessons.exercises.lesson_09 import steadiness
from naslora_workbook.research import operator_recovery as planted
from naslora_workbook.results.records import recorded

FIELD = {"none": 0, "skip": 1, "conv_1x1": 1} | dict.fromkeys(
    ("conv_3x3", "sep_conv_3x3", "avg_pool_3x3"), 3
) | dict.fromkeys(("conv_5x5", "sep_conv_5x5", "dil_conv_3x3"), 5)  # fmt: skip


def races(folder: str) -> list[dict]:
    """Every planted search of a recorded folder, one for each block."""
    part = folder.removeprefix("planted_")
    return [race for record in recorded(f"planted/{part}") for race in record["races"]]


def field() -> dict:
    """How often a reading is right by name (the cheapest class that fits) and by field."""
    found = {}
    for folder in ("planted_sam_nano", "planted_cell"):
        all_of, row = races(folder), {}
        for reading in ("argmax", "projection"):
            row[f"{reading} by name"] = sum(r[reading] == r["cheapest"] for r in all_of)
            row[f"{reading} by extent"] = sum(
                FIELD.get(r[reading]) == FIELD[r["cheapest"]] for r in all_of
            )
            row[f"{reading} by taps"] = sum(
                _taps(r[reading]) == _taps(r["cheapest"]) for r in all_of
            )
        found[folder] = row | {"blocks": len(all_of), "searches": len(_searches(all_of))}
    return found


def _taps(name: str | None) -> int | None:
    """A field of its own for the dilated operator, whose taps are not those of a dense 5x5."""
    return 9 if name == "dil_conv_3x3" else FIELD.get(name)


def _searches(all_of: list[dict]) -> set:
    return {(r["planted"], r["seed"]) for r in all_of}


def confusion() -> dict:
    """What argmax alpha names for every planted operator, inside sam_nano and in the bare cell."""
    found = {}
    for folder in ("planted_sam_nano", "planted_cell"):
        all_of = races(folder)
        names = dict.fromkeys(r["planted"] for r in all_of)
        found[folder] = {
            n: dict(Counter(r["argmax"] for r in all_of if r["planted"] == n)) for n in names
        }
    return found


def genotypes(folder: str, method: str) -> dict:
    """Of every recorded run of a method its blocks' choices, by domain and seed."""
    runs = [r for r in recorded(folder) if r["method"] == method]
    return {(r["data"], r["seed"]): r["genotype"]["blocks"] for r in runs}


def winners() -> dict:
    """Which operator has the largest alpha in the recorded runs on images."""
    found = {}
    for label, folder in (("rate .001", "methods"), ("rate .003", "variants/rate")):
        runs = genotypes(folder, "nas_lora")
        names = Counter(b["argmax"] for blocks in runs.values() for b in blocks)
        found[label] = dict(names.most_common()) | {"blocks": sum(names.values())}
        found[f"{label}, seeds agree"] = agreement(runs, runs, "argmax", other_seed=True)
    return found


def agreement(one: dict, other: dict, reading: str, other_seed: bool) -> dict:
    """Share of blocks of which two runs name the same operator.

    The same seed in both, or all pairs of seeds within a domain. Shuffled: the blocks of one run
    permuted; by chance: readings dealt from all runs of the domain.
    """
    pairs = list(_pairs(one, other, reading, other_seed))
    same = [np.mean(np.equal(a, b)) for a, b, _ in pairs]
    mixed = [np.mean(np.equal.outer(np.array(a), np.array(b))) for a, b, _ in pairs]
    dealt = [np.mean(np.equal.outer(np.array(a), np.array(c))) for a, _, c in pairs]
    found = {"same": np.mean(same), "shuffled": np.mean(mixed), "by chance": np.mean(dealt)}
    return {k: round(float(v), 3) for k, v in found.items()} | {"pairs": len(pairs)}


def _pairs(one: dict, other: dict, reading: str, other_seed: bool):
    """Readings of a run, of its partner, and of all the partner's runs in that domain."""
    for (domain, seed), blocks in one.items():
        of = {s: [b[reading] for b in v] for (d, s), v in other.items() if d == domain}
        every = [name for names in of.values() for name in names]
        partners = [s for s in of if (s > seed if other_seed else s == seed)]
        yield from (([b[reading] for b in blocks], of[s], every) for s in partners)


def frozen() -> dict:
    """Does projection need alpha? Searched against never moved, same seed and over seeds."""
    searched, still = genotypes("methods", "nas_lora"), genotypes("variants", "nas_uniform")
    return {
        "searched and frozen, same seed": agreement(searched, still, "projection", False),
        "searched, two seeds": agreement(searched, searched, "projection", True),
        "frozen, two seeds": agreement(still, still, "projection", True),
    }


def off_centre() -> dict:
    """Share of a cell's energy that no map of single tokens explains (residual of conv_1x1)."""
    runs, found = genotypes("methods", "nas_lora"), {}
    for domain in dict.fromkeys(d for d, _ in runs):
        blocks = [b for (d, _), v in runs.items() if d == domain for b in v]
        left = np.array([b["residual"]["conv_1x1"] for b in blocks])
        found[domain] = {
            "least, median, most": np.quantile(left, (0, 0.5, 1)).round(4).tolist(),
            "projection names": dict(Counter(b["projection"] for b in blocks)),
            "blocks within 3 % per token": int((left <= 0.03).sum()),
            "blocks": len(blocks),
        }
    return found


def taps(seeds: int = 40) -> dict:
    """Steps of the default cell's taps under a steady gradient, in steps of a free 5x5."""
    ratios = np.mean([_tap_ratio(seed) for seed in range(seeds)], 0)
    ring, dilated = np.zeros((5, 5), bool), np.zeros((5, 5), bool)
    ring[1:4, 1:4], dilated[::2, ::2] = True, True
    ring[2, 2] = dilated[2, 2] = False
    rest = ~(ring | dilated)
    rest[2, 2] = False
    parts = {"inner ring": ring, "dilated taps": dilated, "others": rest}
    found = {"centre": ratios[2, 2]} | {k: ratios[v].mean() for k, v in parts.items()}
    return {k: round(float(v), 3) for k, v in found.items()}


def _tap_ratio(seed: int, lr: float = 3e-3) -> np.ndarray:
    """One AdamW step of the cell's operators, alpha still, over one of a free kernel, `5 5`."""
    torch.manual_seed(seed)
    cell = Cell(4, "linear", "beside")
    before, pull = cell.kernel().detach().clone(), torch.randn(4, 4, 5, 5)
    free = torch.nn.Parameter(before.clone())
    weights = [p for n, p in cell.named_parameters() if n != "arch_alpha"]
    adam = torch.optim.AdamW([*weights, free], lr=lr, weight_decay=0)
    ((cell.kernel() + free) * pull).sum().backward()
    adam.step()
    moved = [((k.detach() - before) * -pull.sign()).mean((0, 1)) for k in (cell.kernel(), free)]
    return (moved[0] / moved[1]).numpy()


def power() -> dict:
    """Lesson 09's control on planted searches in the bare cell: how many look like noise."""
    return {f"{steps} steps": _power(steps) for steps in (60, 100, 200, 300, 1000)}


def _power(steps: int, seeds: int = 2, rate: float = 0.02) -> dict:
    silent = noise_search(steps, rate, 9)
    low, high = np.quantile(entropies(silent[-1]), (0.05, 0.95))
    top = np.quantile(steadiness(silent), 0.95)
    ways = [way(n, s, steps, rate) for s in range(seeds) for n in planted.PLANTS]
    ends = np.array([float(entropies(w[-1])) for w in ways])
    return {
        "searches": len(ways),
        "entropy of noise": [round(low, 3), round(high, 3)],
        "planted entropy": [round(ends.min(), 3), round(ends.max(), 3)],
        "entropy within the band of noise or above": int((ends >= low).sum()),
        "steadier than 95 % of noise searches": int(sum(steadiness(w) > top for w in ways)),
    }


def entropies(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(p)).sum(-1) / np.log(p.shape[-1])


def noise_search(steps: int, rate: float, n: int, draws: int = 500) -> np.ndarray:
    """Probabilities `steps draws n` of alphas whose gradients are noise (lesson 09's control)."""
    alpha = torch.nn.Parameter(torch.zeros(draws, n, dtype=torch.float64))
    adam = torch.optim.AdamW([alpha], rate, betas=(0.5, 0.999), weight_decay=1e-3)
    noise, found = torch.Generator().manual_seed(0), []
    for _ in range(steps):
        g = torch.randn(draws, n, generator=noise, dtype=torch.float64)
        alpha.grad = g - g.mean(1, keepdim=True)
        adam.step()
        found.append(alpha.detach().softmax(1))
    return torch.stack(found).numpy()


def way(name: str, seed: int, steps: int, rate: float) -> np.ndarray:
    """Probabilities `steps n` of one planted search in the bare cell."""
    garden = planted.Garden(steps=steps, alpha_lr=rate)
    cell, kernel = planted._student(garden, seed), planted.teacher(name, garden, seed)
    lesson, found = partial(planted.lesson, kernel, garden, seed), []
    for _ in planted.search(cell, lesson, planted.plan(garden)):
        found.append(cell.probabilities().detach().double().numpy())
    return np.stack(found)


def lead(rates=(0.02, 0.1), leads=(3, 6, 9, 12), most: int = 3000) -> dict:
    """Steps until a wrong lead of skip is lost, alpha by the search's AdamW, kernels held."""
    return {f"rate {r:g}": {f"lead {d}": _turned(r, d, most) for d in leads} for r in rates}


def _turned(rate: float, ahead: float, most: int, name: str = "conv_3x3") -> int | None:
    """A cell whose conv_3x3 is the teacher and whose skip leads by `ahead`."""
    garden = planted.Garden(alpha_lr=rate)
    cell, kernel = planted._student(garden, 0), planted.teacher(name, garden, 0)
    skip, right = cell.names.index("skip"), cell.names.index(name)
    with torch.no_grad():
        cell.arch_alpha[skip] = ahead
        cell.operators[right].weight.copy_((kernel[..., 1:4, 1:4] - cell.beside[..., 1:4, 1:4]) / 3)
    for p in cell.operators.parameters():
        p.requires_grad_(False)
    adam = torch.optim.AdamW([cell.arch_alpha], rate, betas=(0.5, 0.999), weight_decay=1e-3)
    for step in range(most):
        z, y = planted.lesson(kernel, garden, 0, step)
        adam.zero_grad()
        torch.nn.functional.mse_loss(cell(z), y).backward()
        adam.step()
        if int(cell.arch_alpha.argmax()) != skip:
            return step + 1
    return None


ALL = (field, confusion, winners, frozen, off_centre, taps, power, lead)
FINDINGS = {f.__name__: f for f in ALL}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for asked in sys.argv[1:] or FINDINGS:
        print(asked, json.dumps(FINDINGS[asked](), indent=1, default=float), flush=True)
