"""The workbook around `naslora_core`: lessons, figures, research, results, publishing.

Imports point from here to the core and never back. Every name below loads its room on first use.
Nothing is imported at once: the commands start before any package is installed.
"""

import importlib
import sys

from naslora_core.cpu_quota import limit_threads

_HOME = {
    "checks": "naslora_workbook.lessons.checks",
    "figures": "naslora_workbook.figures",
    "domain": "naslora_workbook.lessons.domains",
    "profile": "naslora_workbook.lessons.profiles",
}
_MODULES = ("checks", "figures")

__all__ = sorted(_HOME)

if "ipykernel" in sys.modules and (told := limit_threads()):  # the kernel of a lesson
    print(told, file=sys.stderr)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'naslora_workbook' has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    return module if name in _MODULES else getattr(module, name)


def __dir__():
    return __all__
