"""Learning rates, tried on validation images before a comparison, and which did best."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from naslora_core.errors import UserError


def best_rates(*folders: Path) -> dict[str, float]:
    """Of each method the learning rate of the best mean IoU over all trials in the folders.

    Raises UserError where the rates of a method were not tried on the same data and seeds, or on
    images that are not for validation.
    """
    trials = tried(*folders)
    for method, rates in trials.items():
        if len({frozenset(found) for found in rates.values()}) > 1:
            raise UserError(
                f"The learning rates of {method} in {folders[0]} were tried on different data or "
                "seeds; run the missing trials."
            )
    return {m: max(r, key=lambda lr: np.mean(list(r[lr].values()))) for m, r in trials.items()}


def even_rates(
    folders: Sequence[Path],
    methods: Sequence[str],
    rates: Sequence[float],
    domains: Sequence[str],
    seeds: Sequence[int],
) -> dict[str, float]:
    """`best_rates`, where the methods had equal trials: each of `rates` in the same places.

    Raises UserError for others, and for a trial that is not on `domains` or is with one of `seeds`,
    which are for the verdict.
    """
    trials, wanted = tried(*folders), " ".join(f"{r:g}" for r in sorted(rates))
    _apart(trials, domains, seeds)
    for method in methods:
        if (found := trials.get(method, {})).keys() != set(rates):
            had = " ".join(f"{r:g}" for r in sorted(found)) or "none"
            raise UserError(
                f"{method} was tried with the learning rates {had} in {folders[-1]}, expected "
                f"{wanted}: every method has the same trials; run those that are missing (compare "
                f"DOMAIN --methods {method} --split val --lr ...), and take others out."
            )
    places = {
        m: sorted({place for found in trials[m].values() for place in found}) for m in methods
    }
    if odd := [m for m in methods if places[m] != places[methods[0]]]:
        raise UserError(
            f"{odd[0]} was tried on {_told(places[odd[0]])}, {methods[0]} on "
            f"{_told(places[methods[0]])}; every method has the same trials: run what is missing."
        )
    return best_rates(*folders)


def _told(places: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} seed {seed}" for name, seed in places)


def _apart(trials: Mapping, domains: Sequence[str], seeds: Sequence[int]) -> None:
    """UserError for a trial, data and seed, on another domain or with a seed of the verdict."""
    for name, seed in sorted({p for of in trials.values() for found in of.values() for p in found}):
        if name not in domains or seed in seeds:
            raise UserError(
                f"A learning rate was tried on {name}, seed {seed}; trials are of development "
                f"domains ({', '.join(domains)}) and seeds other than "
                f"{', '.join(map(str, seeds))}: take those out, or run others."
            )


def tried(*folders: Path) -> dict[str, dict[float, dict]]:
    """Of each method and learning rate the mean IoU of every trial, by data and seed.

    Raises UserError for a folder that holds none, or one that was scored on test images.
    """
    found = defaultdict(lambda: defaultdict(dict))
    for r in (record for folder in folders for record in _trials(Path(folder))):
        found[r["method"]][r["setting"]["lr"]][r["data"], r["seed"]] = r["mean"]["iou"]
    return found


def _trials(folder: Path) -> list[dict]:
    """The records of a folder but the box-prompted base; UserError for none, or one of test."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    trials = [record for record in records if record["method"] != "base_boxed"]
    if not trials:
        raise UserError(
            f"There is no trial of a learning rate in {folder}; expected a folder that "
            f"`compare ... --lr 1e-3 3e-3 --split val --out {folder}` has filled; run that, or "
            "leave the rates out."
        )
    for r in trials:
        if r["setting"]["split"] != "val":
            raise UserError(
                f"{folder} holds {r['method']} on {r['data']}, scored on its "
                f"{r['setting']['split']} images; a learning rate is chosen on validation images "
                "alone: name a folder that only `compare ... --split val` has filled."
            )
    return trials


def rate_of(method: str, rates: Mapping[str, float] | None, lr: float) -> float:
    """The method's own learning rate of `rates`; `lr` where there are none at all.

    Raises UserError for a method that has none while others do.
    """
    if not rates:
        return lr
    if method not in rates:
        raise UserError(
            f"{method} has no trial among the rates, which are of {', '.join(sorted(rates))}; try "
            "it too (compare ... --lr 1e-3 3e-3 --split val), or leave the rates out."
        )
    return rates[method]
