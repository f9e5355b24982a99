"""The planted oracle as a grid: one file a search, existing ones kept, and its table.

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
            races += read(path)
            print(line(races[-1]), flush=True)
    return races


def _record(path: Path, sam, name: str, seed: int, command: str) -> None:
    if sam is None:
        setting, races = Garden(), [planted.race(name, seed)]
    else:
        samples = list(domain("polyp", train=IMAGES).train)
        setting, races = Bed(), planted_sam.race(sam, samples, name, seed)
    record = {"setting": asdict(setting), "races": [asdict(r) for r in races]}
    if sam is not None:
        record["base"] = base_of(sam)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(record | {"provenance": provenance(command)}) + "\n")


def read(path: Path) -> list[Race]:
    """The searches of one file."""
    return [Race(**r) for r in json.loads(path.read_text())["races"]]


def recorded(folder: Path) -> list[Race]:
    """All searches of a folder, in order of plants and seeds."""
    races = [r for path in sorted(folder.glob("*.json")) for r in read(path)]
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
