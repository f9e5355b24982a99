"""What the records of the repository already say about alpha and projection, by command.

python -m naslora_workbook.research.experiment_findings field changed
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch

from naslora_core.search import Cell
from naslora_workbook.lessons.exercises.lesson_09 import steadiness
from naslora_workbook.research import operator_recovery as planted
from naslora_workbook.research.bootstrap import these_domains
from naslora_workbook.research.experiment_runs import noise_search
from naslora_workbook.results.records import recorded

PLACES = {"planted_sam_nano": "planted/sam_nano", "planted_cell": "planted/cell"}
FIELD = {"none": 0, "skip": 1, "conv_1x1": 1} | dict.fromkeys(
    ("conv_3x3", "sep_conv_3x3", "avg_pool_3x3"), 3
) | dict.fromkeys(("conv_5x5", "sep_conv_5x5", "dil_conv_3x3"), 5)  # fmt: skip
TAPS = FIELD | {"dil_conv_3x3": 9}  # those of a dilated operator are not those of a dense 5x5
CHANGED = {
    "on the whole map": ("variants", "nas_map"),
    "alpha never moves": ("variants", "nas_uniform"),
    "joint": ("variants/joint", "nas_lora"),
    "bilevel": ("variants/bilevel", "nas_lora"),
    "rate .003": ("variants/rate", "nas_lora"),
}


def races(part: str) -> list[dict]:
    """Every planted search of a recorded part, one for each block."""
    return [race for record in recorded(part) for race in record["races"]]


def field() -> dict:
    """How often a reading is right by name (the cheapest class that fits) and by field."""
    ways = {"name": {n: n for n in FIELD}, "extent": FIELD, "taps": TAPS}
    found = {}
    for label, part in PLACES.items():
        all_of = races(part)
        row = {
            f"{reading} by {way}": sum(of.get(r[reading]) == of[r["cheapest"]] for r in all_of)
            for reading in ("argmax", "projection")
            for way, of in ways.items()
        }
        searches = {(r["planted"], r["seed"]) for r in all_of}
        found[label] = row | {"blocks": len(all_of), "searches": len(searches)}
    return found


def confusion() -> dict:
    """What argmax alpha names for every planted operator, inside sam_nano and in the bare cell."""
    found = {}
    for label, part in PLACES.items():
        named = {}
        for r in races(part):
            named.setdefault(r["planted"], Counter())[r["argmax"]] += 1
        found[label] = named
    return found


def genotypes(part: str, method: str) -> dict:
    """Of every recorded run of a method its blocks' choices, by domain and seed."""
    runs = [r for r in recorded(part) if r["method"] == method]
    return {(r["data"], r["seed"]): r["genotype"]["blocks"] for r in runs}


def winners() -> dict:
    """Which operator has the largest alpha in the recorded runs on images."""
    found = {}
    for label, part in (("rate .001", "methods"), ("rate .003", "variants/rate")):
        runs = genotypes(part, "nas_lora")
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


def _pairs(one: dict, other: dict, reading: str, other_seed: bool) -> Iterator[tuple]:
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
            "projection names": Counter(b["projection"] for b in blocks),
            "blocks within 3 % per token": int((left <= 0.03).sum()),
            "blocks": len(blocks),
        }
    return found


def taps(seeds: int = 40) -> dict:
    """Steps of the default cell's taps under a steady gradient, in steps of a free 5x5."""
    ratios = np.mean([_tap_ratio(seed) for seed in range(seeds)], 0)
    kind = np.full((5, 5), 3)  # centre 0, inner ring 1, dilated taps 2, others 3
    kind[::2, ::2], kind[1:4, 1:4], kind[2, 2] = 2, 1, 0
    names = ("centre", "inner ring", "dilated taps", "others")
    return {n: round(float(ratios[kind == i].mean()), 3) for i, n in enumerate(names)}


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


def _power(steps: int, seeds: int = 2) -> dict:
    silent, garden = noise_search(steps, 0.02, 9), planted.Garden(steps=steps)
    low, high = np.quantile(entropies(silent[-1]), (0.05, 0.95))
    top = np.quantile(steadiness(silent), 0.95)
    ways = [planted.race(n, s, garden).way for s in range(seeds) for n in planted.PLANTS]
    ends = np.array([float(entropies(w[-1])) for w in ways])
    return {
        "searches": len(ways),
        "entropy of noise": [round(low, 3), round(high, 3)],
        "planted entropy": [round(ends.min(), 3), round(ends.max(), 3)],
        "entropy within the band of noise or above": int((ends >= low).sum()),
        "steadier than 95 % of noise searches": int(sum(steadiness(w) > top for w in ways)),
    }


def entropies(p: np.ndarray) -> np.ndarray:
    """Entropy of the last axis, in shares of the uniform's."""
    return -(p * np.log(p)).sum(-1) / np.log(p.shape[-1])


def lead(rates=(0.02, 0.1), leads=(3, 6, 9, 12)) -> dict:
    """Steps until a wrong lead of skip is lost, alpha by the search's AdamW, kernels held."""
    return {f"rate {r:g}": {f"lead {d}": _turned(r, d) for d in leads} for r in rates}


def _turned(rate: float, ahead: float, most: int = 3000, name: str = "conv_3x3") -> int | None:
    """A cell whose conv_3x3 is the teacher and whose skip leads by `ahead`."""
    garden = planted.Garden()
    torch.manual_seed(0)
    cell, kernel = Cell(garden.rank, "linear", garden.start), planted.teacher(name, garden, 0)
    skip, right = cell.names.index("skip"), cell.names.index(name)
    with torch.no_grad():
        cell.arch_alpha[skip] = ahead
        cell.operators[right].weight.copy_((kernel[..., 1:4, 1:4] - cell.beside[..., 1:4, 1:4]) / 3)
    cell.operators.requires_grad_(False)
    adam = torch.optim.AdamW([cell.arch_alpha], rate, betas=(0.5, 0.999), weight_decay=1e-3)
    for step in range(most):
        z, y = planted.lesson(kernel, garden, 0, step)
        adam.zero_grad()
        torch.nn.functional.mse_loss(cell(z), y).backward()
        adam.step()
        if int(cell.arch_alpha.argmax()) != skip:
            return step + 1
    return None


def changed() -> dict:
    """The recorded default with one setting changed, and methods against LoRA: IoU, paired."""
    default, lora = _ious("methods", "nas_lora"), _ious("methods", "lora")
    found = {name: _difference(_ious(*place), default) for name, place in CHANGED.items()}
    found["NAS-LoRA at .003 - LoRA"] = _difference(_ious("variants/rate", "nas_lora"), lora)
    rivals = ("nas_pc_lora", "fixed_conv", "conv_lora")
    return found | {f"{m} - lora": _difference(_ious("methods", m), lora) for m in rivals}


def _ious(part: str, method: str) -> dict:
    """IoU of every image of a method's recorded runs, by domain and seed."""
    runs = [r for r in recorded(part) if r["method"] == method]
    return {(r["data"], r["seed"]): [v[1] for v in r["images"].values()] for r in runs}


def _difference(one: dict, other: dict) -> list[float]:
    """The mean over domains with the ends of its interval."""
    parts = {}
    for domain, seed in sorted(other):
        pair = one[domain, seed], other[domain, seed]
        parts.setdefault(domain, []).append(np.subtract(*pair))
    found = these_domains(list(map(np.array, parts.values())))
    return [round(v, 4) for v in (found.mean, found.low, found.high)]


def empty() -> dict:
    """Of every recorded trial at .01 and .03: IoU, and the share of images without a hit."""
    found = {}
    for run in recorded("rates"):
        if (lr := run["setting"]["lr"]) in (0.01, 0.03):
            none = np.mean([iou == 0 for _, iou in run["images"].values()])
            found[f"{run['method']} {lr:g}"] = [run["mean"]["iou"], round(float(none), 2)]
    return found


ALL = (field, confusion, winners, frozen, off_centre, taps, power, lead, changed, empty)
FINDINGS = {f.__name__: f for f in ALL}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for asked in sys.argv[1:] or FINDINGS:
        print(asked, json.dumps(FINDINGS[asked](), indent=1, default=float), flush=True)
