"""When alpha knows: planted searches over strength, noise, images and steps (experiment 3).

    python -m naslora_workbook.research.experiment_power cell
    python -m naslora_workbook.research.experiment_power inside
    python -m naslora_workbook.research.experiment_power table

A planted operator makes the targets; a search over the linear set has to find it. Read at the end:
argmax alpha and projection, by name and by field, and alpha's steadiness. Chance is the same
readings with the answers permuted.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np
import torch

from naslora_core.sam import load_sam
from naslora_workbook.lessons.domains import domain
from naslora_workbook.lessons.exercises.lesson_09 import steadiness
from naslora_workbook.research import operator_recovery as planted
from naslora_workbook.research import recovery_in_sam as planted_sam
from naslora_workbook.research.experiment_findings import FIELD, entropies
from naslora_workbook.research.experiment_runs import noise_search
from naslora_workbook.research.preregistration import in_turn
from naslora_workbook.research.provenance import provenance
from naslora_workbook.results.labels import markdown
from naslora_workbook.results.records import experiments, keep, recorded

NAME = "experiments/power"  # of its records
CELL = [  # noise is the inverse of the teacher's strength; 16 maps of 16 x 16 a step average it
    {"noise": n, "steps": s} for s in (100, 300, 1000) for n in (0.1, 4.0, 40.0)
]
INSIDE = [{}, {"strength": 0.02}, {"noise": 20.0}, {"images": 4}, {"noise": 4.0}, {"strength": 0.1},
          {"steps": 100}, {"steps": 1000}]  # fmt: skip
BED = planted_sam.Bed(steps=300)
SHOWN = ("noise", "strength", "images", "steps")
HEAD = ("setting", "blocks", "argmax, field (chance)", "argmax, name", "projection, field (chance)",
        "projection, name", "steadier than noise", "entropy as of noise")  # fmt: skip


def run(where: str, seeds: list[int], share: str = "1/1", until: str = "") -> None:
    """Every search of a grid that the packed results lack; they are added at once.

    share: "I/N", the I-th of each N points; until: HH:MM in UTC, after which none is begun.
    """
    torch.set_num_threads(1)
    sam = load_sam() if where == "inside" else None
    samples = list(domain("polyp", train=64).train) if sam else []
    done = {(json.dumps(r["setting"]), r["planted"], r["seed"]) for r in packed()}
    for point in in_turn(INSIDE if sam else CELL, share, until):
        setting = _setting(where, point)
        for seed, name in ((s, n) for s in seeds for n in planted.PLANTS):
            if (json.dumps(setting), name, seed) not in done:
                found = [_record(race) for race in _races(sam, samples, point, name, seed)]
                made = provenance(f"python -m {__spec__.name} {where}")
                keep(NAME, [{"setting": setting, **r, "provenance": made} for r in found], add=True)


def _setting(where: str, point: dict) -> dict:
    """What differs between the points of a grid."""
    rest = asdict(BED) | {"images": 64} if where == "inside" else asdict(planted.Garden())
    all_of = {"where": where} | rest | point
    return {k: all_of[k] for k in ("where", *SHOWN) if k in all_of}


def _races(sam, samples: list, point: dict, name: str, seed: int) -> list[planted.Race]:
    if sam is None:
        return [planted.race(name, seed, replace(planted.Garden(), **point))]
    point = dict(point)
    return planted_sam.race(
        sam, samples[: point.pop("images", 64)], name, seed, replace(BED, **point)
    )


def _record(race: planted.Race) -> dict:
    return {
        "planted": race.planted, "seed": race.seed, "place": race.place,
        "cheapest": race.cheapest, "argmax": race.argmax, "projection": race.projection,
        "steadiness": round(float(steadiness(race.way)), 3),
        "entropy": round(float(entropies(race.way[-1])), 3),
        "winner": round(float(race.way[-1].max()), 3),
        "off_centre": round(race.residual["conv_1x1"], 4),
    }  # fmt: skip


def packed() -> list[dict]:
    return recorded(NAME) if NAME in experiments() else []


def rows() -> Iterator[list[str]]:
    """A row a setting: hits of both readings by field and name, chance, steadiness seen."""
    records = packed()
    for setting in dict.fromkeys(json.dumps(r["setting"]) for r in records):
        yield _row(json.loads(setting), [r for r in records if json.dumps(r["setting"]) == setting])


def _row(setting: dict, found: list[dict]) -> list[str]:
    silent = noise_search(setting["steps"], 0.02, 9)
    top, low = np.quantile(steadiness(silent), 0.95), np.quantile(entropies(silent[-1]), 0.05)
    hits = [_hits(found, r, f) for r in ("argmax", "projection") for f in (True, False)]
    seen = np.mean([r["steadiness"] > top for r in found])
    like_noise = np.mean([r["entropy"] >= low for r in found])
    text = ", ".join(f"{k} {v}" for k, v in setting.items())
    return [text, str(len(found)), *hits, f"{seen:.0%}", f"{like_noise:.0%}"]


def _hits(found: list[dict], reading: str, by_field: bool) -> str:
    """Share of right readings, and that of the same readings with the answers permuted."""
    as_field = FIELD.get if by_field else (lambda name: name)
    said, right = [as_field(r[reading]) for r in found], [as_field(r["cheapest"]) for r in found]
    hits = np.mean([a == b for a, b in zip(said, right, strict=True)])
    chance = np.mean([a == b for a in said for b in right])
    return f"{hits:.0%} ({chance:.0%})" if by_field else f"{hits:.0%}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("cell", "inside", "table"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--share", default="1/1", metavar="I/N", help="every N-th point")
    parser.add_argument("--until", default="", metavar="HH:MM", help="begin no point after, UTC")
    a = parser.parse_args()
    if a.what == "table":
        print(markdown(HEAD, rows()))
    else:
        run(a.what, a.seeds, a.share, a.until)
