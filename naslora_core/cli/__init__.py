"""The commands of `naslora`: those for your images, and the workbook's where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

from naslora_core.cli import commands  # noqa: F401  (it enters its commands)
from naslora_core.cli.command import build_parser, literal, parse

if find_spec("naslora_workbook"):
    import naslora_workbook.cli  # noqa: F401

__all__ = ["build_parser", "literal", "parse"]
