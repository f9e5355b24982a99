"""The search space, the cell, its schedule, and how a trained cell is read."""

from naslora_core.search import operators  # noqa: F401  (they register)
from naslora_core.search.cell import STARTS, Cell
from naslora_core.search.genotype import BlockChoice, Genotype
from naslora_core.search.operator_registry import (
    OPERATOR_SETS,
    REGISTRY,
    Operator,
    operator,
    set_hash,
)
from naslora_core.search.projection import Choice, argmax, project
from naslora_core.search.schedule import (
    Schedule,
    Stage,
    bilevel,
    budget,
    joint,
    stage_wise,
    weights_only,
)

__all__ = [
    "OPERATOR_SETS",
    "REGISTRY",
    "STARTS",
    "BlockChoice",
    "Cell",
    "Choice",
    "Genotype",
    "Operator",
    "Schedule",
    "Stage",
    "argmax",
    "bilevel",
    "budget",
    "joint",
    "operator",
    "project",
    "set_hash",
    "stage_wise",
    "weights_only",
]
