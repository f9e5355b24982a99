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
from functools import partial

import numpy as np
import torch

from naslora_core.adapters import NASLoRA, adapt
from naslora_core.adapters.discretisation import read_cells
from naslora_core.adapters.nas_lora import cells
from naslora_core.sam import load_sam
from naslora_core.search.projection import explain, project
from naslora_workbook.lessons.domains import domain
from naslora_workbook.lessons.exercises.lesson_09 import steadiness
from naslora_workbook.research import operator_recovery as planted
from naslora_workbook.research import recovery_in_sam as planted_sam
from naslora_workbook.research.experiment_findings import FIELD, entropies, noise_search
from naslora_workbook.research.operator_recovery import PLANTS, Garden
from naslora_workbook.research.provenance import provenance
from naslora_workbook.research.recovery_in_sam import Bed, Tail
from naslora_workbook.results.records import experiments, keep, recorded

# noise is the inverse of the teacher's strength in the bare cell
NAME = "experiment_power"  # of its records
CELL = [  # 16 maps of 16 x 16 a step average much of it out
    {"noise": n, "steps": s} for s in (100, 300, 1000) for n in (0.1, 4.0, 40.0)
]
INSIDE = [{}, {"noise": 4.0}, {"noise": 20.0}, {"strength": 0.1}, {"strength": 0.02},
          {"images": 4}, {"steps": 100}, {"steps": 1000}]  # fmt: skip
BED = Bed(steps=300)
SHOWN = ("noise", "strength", "images", "steps")
HEAD = ("setting", "blocks", "argmax, field (chance)", "argmax, name", "projection, field (chance)",
        "projection, name", "steadier than noise", "entropy as of noise")  # fmt: skip


def search_cell(name: str, seed: int, garden: Garden) -> list[dict]:
    """One search in the bare cell."""
    kernel, cell = planted.teacher(name, garden, seed), planted._student(garden, seed)
    lesson, ways = partial(planted.lesson, kernel, garden, seed), []
    for _ in planted.search(cell, lesson, planted.plan(garden)):
        ways.append(cell.probabilities().detach().double().numpy())
    z = planted.features(garden, seed, 0)
    read, answer = project(cell, z), explain(kernel, cell.operators, z)[0]
    return [_record(name, seed, "cell", answer, read, np.stack(ways))]


def search_inside(sam, samples, name: str, seed: int, bed: Bed) -> list[dict]:
    """One search in two blocks of sam_nano: a record a block."""
    first = min(bed.blocks)
    x = planted_sam.tokens(sam, samples, first)
    teacher = planted_sam.plant(sam, name, seed, bed, x)
    student = adapt(sam, NASLoRA(bed.rank, 1.0, bed.blocks, start=bed.start), seed=seed)
    guide, tail = (Tail(m.sam.image_encoder, first) for m in (teacher, student))
    with torch.no_grad():
        y = guide(x)
    ways = {label: [] for label in cells(student)}
    for _ in planted.search(tail, partial(planted_sam._draw, x, y, bed, seed), planted.plan(bed)):
        for label, cell in cells(student).items():
            ways[label].append(cell.probabilities().detach().double().numpy())
    read = read_cells(student, partial(tail, x[:16]))
    answers = planted_sam._cheapest(teacher, partial(guide, x[:16]))
    return [_record(name, seed, b, answers[b], read[b], np.stack(w)) for b, w in ways.items()]


def _record(name: str, seed: int, place: str, answer: str, read, way: np.ndarray) -> dict:
    return {
        "planted": name, "seed": seed, "place": place, "cheapest": answer, "argmax": read.argmax,
        "projection": read.projection, "steadiness": round(float(steadiness(way)), 3),
        "entropy": round(float(entropies(way[-1])), 3), "winner": round(float(way[-1].max()), 3),
        "off_centre": round(read.residual["conv_1x1"], 4),
    }  # fmt: skip


def run(where: str, seeds: list[int]) -> None:
    """Every search of a grid that the packed results lack; they are added at once."""
    torch.set_num_threads(1)
    sam = load_sam() if where == "inside" else None
    samples = list(domain("polyp", train=64).train) if sam else []
    done = {_key(r) for r in packed()}
    for point in INSIDE if sam else CELL:
        setting = _setting(where, point)
        for seed in seeds:
            for name in PLANTS:
                if (json.dumps(setting), name, seed) not in done:
                    add(setting, _search(where, sam, samples, point, name, seed))


def _setting(where: str, point: dict) -> dict:
    """What differs between the points of a grid."""
    inside = asdict(BED) | {"images": 64}
    all_of = {"where": where} | (inside if where == "inside" else asdict(Garden())) | point
    return {k: all_of[k] for k in ("where", *SHOWN) if k in all_of}


def _search(where, sam, samples, point: dict, name: str, seed: int) -> list[dict]:
    if where == "cell":
        return search_cell(name, seed, replace(Garden(), **point))
    images = point.get("images", 64)
    rest = {k: v for k, v in point.items() if k != "images"}
    return search_inside(sam, samples[:images], name, seed, replace(BED, **rest))


def packed() -> list[dict]:
    return recorded(NAME) if NAME in experiments() else []


def _key(record: dict) -> tuple:
    return json.dumps(record["setting"]), record["planted"], record["seed"]


def add(setting: dict, records: list[dict]) -> None:
    """Append records to the packed results, with where they were made."""
    made = provenance(f"python -m {__spec__.name} {setting['where']}")
    keep(NAME, [{"setting": setting} | r | {"provenance": made} for r in records], add=True)


def table() -> Iterator[str]:
    """A row a setting: hits of both readings by field and name, chance, steadiness seen."""
    yield f"| {' | '.join(HEAD)} |"
    yield "|---" * len(HEAD) + "|"
    settings = list(dict.fromkeys(json.dumps(r["setting"]) for r in packed()))
    for setting in settings:
        found = [r for r in packed() if json.dumps(r["setting"]) == setting]
        yield _row(json.loads(setting), found)


def _row(setting: dict, found: list[dict]) -> str:
    silent = noise_search(setting["steps"], 0.02, 9)
    top, low = np.quantile(steadiness(silent), 0.95), np.quantile(entropies(silent[-1]), 0.05)
    hits = [_hits(found, r, f) for r in ("argmax", "projection") for f in (True, False)]
    seen = np.mean([r["steadiness"] > top for r in found])
    like_noise = np.mean([r["entropy"] >= low for r in found])
    text = ", ".join(f"{k} {v}" for k, v in setting.items())
    return f"| {text} | {len(found)} | {' | '.join(hits)} | {seen:.0%} | {like_noise:.0%} |"


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
    a = parser.parse_args()
    print("\n".join(table())) if a.what == "table" else run(a.what, a.seeds)
