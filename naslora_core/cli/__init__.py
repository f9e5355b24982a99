"""The commands of `python -m naslora_core`. To add one: a decorated function that imports inside.

Only the standard library may be imported at the top: `--help` works before anything is installed,
and a Python that is too old is told so (hence the annotations of the future).
"""

from __future__ import annotations

from importlib.util import find_spec

from naslora_core.cli import images  # noqa: F401  (it enters its commands)
from naslora_core.cli.command import build_parser, literal

if find_spec("naslora_workbook"):  # the workbook's commands, where it is installed
    import naslora_workbook.cli  # noqa: F401

__all__ = ["build_parser", "literal"]
