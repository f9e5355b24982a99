"""The workbook's commands; standard library alone at the top, as in `naslora_core.cli`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from naslora_core.cli import build_parser
from naslora_workbook.cli import publishing, research  # they enter their commands

__all__ = ["build_parser", "prepare"]

NEEDED = ("torch", "segment_anything", "lightning_fabric")


def prepare(arguments, words: list[str]) -> None:
    """Before a command that needs packages: their environment, then what registers itself."""
    if not all(map(find_spec, NEEDED)):
        import_module("naslora_workbook.publishing.environment").enter(words)
    import_module("naslora_workbook.lessons.domains")  # the drawn domains
    import_module("naslora_workbook.research.methods")  # methods for comparison
    if getattr(arguments, "metrics", None):
        import_module("naslora_workbook.research.structure_metrics")
