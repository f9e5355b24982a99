"""The experiments' runs for the lessons: IoU by arm, and differences paired by seed and image."""

from collections.abc import Iterable, Sequence

import numpy as np

from naslora_workbook.research.bootstrap import Interval, seeds_and_images
from naslora_workbook.results.records import recorded


def experiment(*names: str) -> list[dict]:
    """All packed runs of these experiments ("volume", "oracle", ...)."""
    return [run for name in names for run in recorded(f"experiment_{name}")]


def iou(runs: Iterable[dict], domain: str, arm: str) -> list[float]:
    """Validation IoU of an arm on a domain, seed by seed."""
    found = {r["seed"]: r["iou"] for r in runs if (r["domain"], r["arm"]) == (domain, arm)}
    return [found[seed] for seed in sorted(found)]


def paired(runs: Iterable[dict], domain: str, arm: str, against: str) -> np.ndarray:
    """IoU of `arm` minus that of `against`, `seeds images`, of the seeds that both have."""
    of = {(r["arm"], r["seed"]): r["each"] for r in runs if r["domain"] == domain}
    seeds = sorted(s for a, s in of if a == arm and (against, s) in of)
    return np.array([np.subtract(of[arm, s], of[against, s]) for s in seeds])


def contrast(
    runs: Sequence[dict], domain: str, arm: str, against: str, level: float = 0.95
) -> Interval:
    """The mean difference with its interval: seeds redrawn, and images within."""
    return seeds_and_images(paired(runs, domain, arm, against), level)
