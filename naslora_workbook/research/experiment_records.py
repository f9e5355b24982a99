"""What the recorded runs say of settings and of rates that end in empty masks.

python -m naslora_workbook.research.experiment_records
"""

import json

import numpy as np

from naslora_workbook.research.bootstrap import these_domains
from naslora_workbook.results.records import recorded

CHANGED = {
    "on the whole map": ("variants", "nas_map"),
    "alpha never moves": ("variants", "nas_uniform"),
    "joint": ("variants/joint", "nas_lora"),
    "bilevel": ("variants/bilevel", "nas_lora"),
    "rate .003": ("variants/rate", "nas_lora"),
}


def changed() -> dict:
    """The recorded default with one setting changed, and methods against LoRA: IoU, paired."""
    default, lora = each("methods", "nas_lora"), each("methods", "lora")
    found = {name: _difference(each(*place), default) for name, place in CHANGED.items()}
    found["NAS-LoRA at .003 - LoRA"] = _difference(each("variants/rate", "nas_lora"), lora)
    rivals = ("nas_pc_lora", "fixed_conv", "conv_lora")
    return found | {f"{m} - lora": _difference(each("methods", m), lora) for m in rivals}


def each(folder: str, method: str) -> dict:
    """IoU of every image of a method's recorded runs, by domain and seed."""
    runs = [r for r in recorded(folder) if r["method"] == method]
    return {(r["data"], r["seed"]): [v[1] for v in r["images"].values()] for r in runs}


def _difference(one: dict, other: dict) -> list[float]:
    """The mean over domains with the ends of its interval."""
    domains = dict.fromkeys(d for d, _ in other)
    pairs = {d: [(one[k], other[k]) for k in sorted(other) if k[0] == d] for d in domains}
    parts = [np.array([np.subtract(*pair) for pair in found]) for found in pairs.values()]
    found = these_domains(parts)
    return [round(v, 4) for v in (found.mean, found.low, found.high)]


def empty() -> dict:
    """Of every recorded trial at .01 and .03: IoU, and the share of images without a hit."""
    found = {}
    for run in recorded("rates"):
        if run["setting"]["lr"] in (0.01, 0.03):
            none = np.mean([iou == 0 for _, iou in run["images"].values()])
            name = f"{run['method']} {run['setting']['lr']:g}"
            found[name] = [run["mean"]["iou"], round(float(none), 2)]
    return found


if __name__ == "__main__":
    for finding in (changed, empty):
        print(finding.__name__, json.dumps(finding(), indent=1))
