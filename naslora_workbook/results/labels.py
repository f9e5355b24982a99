"""What tables call a method, and a table in Markdown."""

from collections.abc import Iterable, Mapping, Sequence

from naslora_workbook.research.methods import LABELS as METHODS
from naslora_workbook.research.variants import LABELLED

LABELS = {
    "base_unprompted": "base, no prompt",
    "base_boxed": "base, a box on every object",
    **METHODS,
    **{name: label for name, (label, _) in LABELLED.items()},
    "random_operator": "one random operator",
    "unet": "U-Net from scratch",
}


def markdown(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: rows of cells under names."""
    lines = [names, *rows]
    head, *body = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(names), *body])


def numbers(name: str, rows: Mapping[str, Mapping], columns: Sequence[str]) -> str:
    """A Markdown table of numbers: a row a name, its values in columns."""
    cells = ([row, *(f"{values[c]:.4g}" for c in columns)] for row, values in rows.items())
    return markdown((name, *columns), cells)
