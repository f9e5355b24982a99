"""Searches for planted operators as a grid: one JSON a search, and a table of what was found.

python -m naslora_core planted                  # on the cell
python -m naslora_core planted --inside         # in two blocks of sam_nano
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from naslora_core.files import make_folder, write_atomic
from naslora_core.sam.checkpoints import base_of
from naslora_workbook.lessons.domains import domain
from naslora_workbook.research import operator_recovery as planted
from naslora_workbook.research import recovery_in_sam as planted_sam
from naslora_workbook.research.operator_recovery import PLANTS, Garden, Race, rate
from naslora_workbook.research.provenance import provenance
from naslora_workbook.research.recovery_in_sam import Bed
from naslora_workbook.results.labels import markdown
from naslora_workbook.results.records import runs

READINGS = ("projection", "argmax")
IMAGES = 64  # of a procedural domain, whose features a planted operator inside a SAM meets


def run(
    seeds: Sequence[int], out: Path, command: str, sam=None, plants: Sequence[str] = PLANTS
) -> list[Race]:
    """Run the searches that `out` lacks, on the cell, or inside `sam`; all of them."""
    make_folder(out)
    races = []
    for seed in seeds:
        for name in plants:
            path = out / f"{name}-{seed}.json"
            if not path.exists():
                record = _searched(sam, name, seed) | {"provenance": provenance(command)}
                write_atomic(path, json.dumps(record) + "\n")
            races += [Race(**r) for r in json.loads(path.read_text())["races"]]
            one = races[-1]
            print(f"{name} seed {seed}: fits {one.cheapest}, projection {one.projection}")
    return races


def _searched(sam, name: str, seed: int) -> dict:
    if sam is None:
        found, rest = [planted.race(name, seed)], {"setting": asdict(Garden())}
    else:
        samples = list(domain("polyp", train=IMAGES).train)
        found = planted_sam.race(sam, samples, name, seed)
        rest = {"setting": asdict(Bed()), "base": base_of(sam)}
    return rest | {"races": [_thinned(race) for race in found]}


def _thinned(race: Race) -> dict:
    """A search with the steps of its history at which a reading changed, and no curves."""
    changed, before = [], {}
    for event in race.history:
        now = {key: event[key] for key in READINGS}
        if now != before:
            changed.append({"step": event["step"]} | now)
        before = now
    facts = {k: v for k, v in asdict(race).items() if k != "way"}
    return facts | {"history": changed}


def recorded(place: str | Path) -> list[Race]:
    """All searches of a folder or recorded part ("planted/cell"), by plant and seed."""
    races = [Race(**r) for record in runs(place) for r in record["races"]]
    return sorted(races, key=lambda r: (PLANTS.index(r.planted), r.seed, r.place))


def table(races: Sequence[Race]) -> str:
    """A row a plant: hits of both readings, and the step from which projection stays right."""
    rows = []
    for name in dict.fromkeys(r.planted for r in races):
        mine = [r for r in races if r.planted == name]
        hits = [str(sum(r.hit(reading) for r in mine)) for reading in READINGS]
        steps = [r.steps_to("projection") for r in mine if r.hit("projection")]
        rows.append([name, str(len(mine)), *hits, str(median(steps)) if steps else "-"])
    lines = [markdown(("planted", "searches", *READINGS, "steps"), rows)]
    for reading in READINGS:
        found = rate(races, reading)
        lines.append(f"{reading}: {found['hits']:.0%} hits, by chance {found['chance']:.0%}")
    return "\n".join(lines)
