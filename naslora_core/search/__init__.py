"""The search space, the cell, its schedule, and how a trained cell is read."""

from naslora_core.search import operators  # they register
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
