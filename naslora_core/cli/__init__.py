"""The commands of `python -m naslora_core`. To add one: a decorated function that imports inside.

Only the standard library may be imported at the top: `--help` works before anything is installed,
and a Python that is too old is told so (hence the annotations of the future).
"""

from __future__ import annotations

from naslora_core.cli import house, images, research  # noqa: F401  (they enter their commands)
from naslora_core.cli.command import build_parser, literal

__all__ = ["build_parser", "literal"]
