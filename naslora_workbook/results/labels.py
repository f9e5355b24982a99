"""What tables call a method, and a table in Markdown."""

from collections.abc import Iterable, Sequence

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
