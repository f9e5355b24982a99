"""Learning rates, tried on validation images before a comparison, and which did best.

Places of trials are folders of JSON files or names of recorded ones (`results.records.runs`).
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from naslora_core.errors import UserError
from naslora_workbook.results.records import runs


def best_rates(*places: str | Path) -> dict[str, float]:
    """Of each method the learning rate of the best mean IoU over all trials in the places.

    UserError where the rates of a method were not tried on the same data and seeds, or on images
    that are not for validation.
    """
    trials = tried(*places)
    for method, rates in trials.items():
        if len({frozenset(found) for found in rates.values()}) > 1:
            raise UserError(
                f"The learning rates of {method} in {places[0]} were tried on different data or "
                "seeds; run the missing trials."
            )
    return {m: max(r, key=lambda lr: np.mean(list(r[lr].values()))) for m, r in trials.items()}


def tried(*places: str | Path) -> dict[str, dict[float, dict]]:
    """Of each method and learning rate the mean IoU of every trial, by data and seed.

    UserError for a place that holds none, or one that was not scored on validation images.
    """
    found = defaultdict(lambda: defaultdict(dict))
    for place in places:
        trials = [record for record in runs(place) if record["method"] != "base_boxed"]
        if not trials:
            raise UserError(
                f"There is no trial of a learning rate in {place}; expected a folder that "
                f"`compare ... --lr 1e-3 3e-3 --split val --out {place}` has filled; run that, or "
                "leave the rates out."
            )
        for r in trials:
            if r["setting"]["split"] != "val":
                raise UserError(
                    f"{place} holds {r['method']} on {r['data']}, scored on its "
                    f"{r['setting']['split']} images; a learning rate is chosen on validation "
                    "images alone: name a folder that only `compare ... --split val` has filled."
                )
            found[r["method"]][r["setting"]["lr"]][r["data"], r["seed"]] = r["mean"]["iou"]
    return found


def rate_of(method: str, rates: Mapping[str, float] | None, lr: float) -> float:
    """The method's own learning rate of `rates`; `lr` where there are none at all.

    Raises UserError for a method that has none while others do.
    """
    if rates and method not in rates:
        raise UserError(
            f"{method} has no trial among the rates, which are of {', '.join(sorted(rates))}; try "
            "it too (compare ... --lr 1e-3 3e-3 --split val), or leave the rates out."
        )
    return rates[method] if rates else lr
