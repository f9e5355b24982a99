"""Searches for planted operators as a grid: one JSON a search, and a table of what was found.

python -m naslora_core planted                  # on the cell
python -m naslora_core planted --inside         # in two blocks of sam_nano
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from naslora_core.files import write_atomic
from naslora_core.sam.checkpoints import base_of
from naslora_workbook.lessons.domains import domain
from naslora_workbook.research import operator_recovery as planted
from naslora_workbook.research import recovery_in_sam as planted_sam
from naslora_workbook.research.operator_recovery import PLANTS, Garden, Race, rate
from naslora_workbook.research.provenance import provenance
from naslora_workbook.research.recovery_in_sam import Bed
from naslora_workbook.results.records import runs

READINGS = ("projection", "argmax")
IMAGES = 64  # of a procedural domain, whose features a planted operator inside a SAM meets


def run(
    seeds: Sequence[int], out: Path, command: str, sam=None, plants: Sequence[str] = PLANTS
) -> list[Race]:
    """Run the searches that `out` lacks, on the cell, or inside `sam`; all of them."""
    races = []
    for seed in seeds:
        for name in plants:
            path = out / f"{name}-{seed}.json"
            if not path.exists():
                _record(path, sam, name, seed, command)
            races += [Race(**r) for r in json.loads(path.read_text())["races"]]
            print(line(races[-1]), flush=True)
    return races


def _record(path: Path, sam, name: str, seed: int, command: str) -> None:
    if sam is None:
        setting, races = Garden(), [planted.race(name, seed)]
    else:
        samples = list(domain("polyp", train=IMAGES).train)
        setting, races = Bed(), planted_sam.race(sam, samples, name, seed)
    record = {"setting": asdict(setting), "races": [_thinned(asdict(r)) for r in races]}
    if sam is not None:
        record["base"] = base_of(sam)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(record | {"provenance": provenance(command)}) + "\n")


def _thinned(race: dict) -> dict:
    """A search with the steps of its history at which a reading changed, and no curves."""
    shown = [{k: e[k] for k in ("step", *READINGS)} for e in race["history"]]
    before = [{}, *shown]
    changed = [
        e for e, b in zip(shown, before, strict=False) if any(e[k] != b.get(k) for k in READINGS)
    ]
    return race | {"history": changed}


def recorded(place: str | Path) -> list[Race]:
    """All searches of a folder or recorded part ("planted/cell"), by plant and seed."""
    races = [Race(**r) for record in runs(place) for r in record["races"]]
    return sorted(races, key=lambda r: (PLANTS.index(r.planted), r.seed, r.place))


def line(race: Race) -> str:
    """One search in words."""
    return (
        f"{race.planted:>13} seed {race.seed} {race.place:>8}: fits {race.cheapest}, projection "
        f"{race.projection}, argmax {race.argmax}"
    )


def table(races: Sequence[Race]) -> str:
    """A row a plant: hits of both readings, and the step from which projection stays right."""
    lines = [f"{'planted':>13}{'searches':>10}" + "".join(f"{r:>12}" for r in (*READINGS, "steps"))]
    for name in dict.fromkeys(r.planted for r in races):
        mine = [r for r in races if r.planted == name]
        hits = [sum(r.hit(reading) for r in mine) for reading in READINGS]
        steps = [r.steps_to("projection") for r in mine if r.hit("projection")]
        taken = median(steps) if steps else "-"
        lines.append(f"{name:>13}{len(mine):>10}{hits[0]:>12}{hits[1]:>12}{taken:>12}")
    for reading in READINGS:
        found = rate(races, reading)
        lines.append(f"{reading}: {found['hits']:.0%} hits, by chance {found['chance']:.0%}")
    return "\n".join(lines)
