"""Which operators there are: by name, in sets, and what an ordered set is called in files."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from naslora_core.errors import UserError, known

if TYPE_CHECKING:
    from naslora_core.search.operators import Operator

REGISTRY: dict[str, type["Operator"]] = {}
OPERATOR_SETS: dict[str, tuple[str, ...]] = {
    "linear": (
        "none",
        "skip",
        "conv_1x1",
        "conv_3x3",
        "conv_5x5",
        "dil_conv_3x3",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "avg_pool_3x3",
    )
}


def operator(name: str) -> Callable[[type["Operator"]], type["Operator"]]:
    """Enter a class into the registry: it then appears in search, genotype, plots and tables."""

    def enter(cls: type["Operator"]) -> type["Operator"]:
        cls.name = name
        REGISTRY[name] = cls
        return cls

    return enter


def build(names: tuple[str, ...], rank: int) -> nn.ModuleList:
    """One operator of every name; UserError for an unknown one."""
    unknown = [n for n in names if n not in REGISTRY]
    if unknown:
        raise UserError(f"Unknown operator {unknown[0]!r}; registered are {', '.join(REGISTRY)}.")
    return nn.ModuleList(REGISTRY[n](rank) for n in names)


def operator_names(operators: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names in a set (by its name), or the names themselves; UserError for an unknown set, or
    for no name at all."""
    if not operators:
        raise UserError(f"No operator is given; choose from {', '.join(OPERATOR_SETS['linear'])}.")
    if not isinstance(operators, str):
        return tuple(operators)
    return OPERATOR_SETS[known(operators, OPERATOR_SETS, "Unknown operator set")]


def set_hash(names: tuple[str, ...]) -> str:
    """Twelve hex digits that name an ordered operator set in files."""
    return hashlib.sha256(",".join(names).encode()).hexdigest()[:12]
