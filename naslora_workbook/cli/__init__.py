"""The workbook's commands; standard library alone at the top, as in `naslora_core.cli`."""

from __future__ import annotations

from naslora_core.cli import build_parser
from naslora_workbook.cli import publishing, research  # noqa: F401  (they enter their commands)

__all__ = ["build_parser"]
