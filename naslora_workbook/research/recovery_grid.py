"""The recorded searches for planted operators; `experiment_power` runs such searches."""

from pathlib import Path

from naslora_workbook.research.operator_recovery import PLANTS, Race
from naslora_workbook.results.records import runs


def recorded(place: str | Path) -> list[Race]:
    """All searches of a folder or recorded part ("planted/cell"), by plant and seed."""
    races = [Race(**r) for record in runs(place) for r in record["races"]]
    return sorted(races, key=lambda r: (PLANTS.index(r.planted), r.seed, r.place))
