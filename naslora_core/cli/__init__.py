"""The commands of `naslora` for your images; `__main__` adds the workbook's."""

from __future__ import annotations

from naslora_core.cli import commands  # it enters its commands
from naslora_core.cli.command import build_parser, literal, parse

__all__ = ["build_parser", "literal", "parse"]
