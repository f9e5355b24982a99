"""NAS-LoRA for the Segment Anything Model: a small core to teach with and to lift into your code.

Importing this package is quick: every name below loads its room on first use. It also lets
torchvision and segment_anything import beside a torch without torchvision's operators.
"""

import importlib
import os
import signal
import sys


def stop(*_) -> None:
    """End with one line on Ctrl-C, before `__main__.main` is there to do so."""
    os.write(2, b"Stopped before anything began.\n")
    os._exit(130)


def _begins_a_command() -> bool:
    """Whether this import is the start of our command, and not of a program that uses us."""
    name = os.path.basename(sys.argv[0] if sys.argv else "")
    return name == "naslora" or (name == "-m" and "naslora_core" in getattr(sys, "orig_argv", ()))


if _begins_a_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, stop)

importlib.import_module("naslora_core.torchvision_compat").watch_torchvision()

__version__ = "0.1.0"

_ROOMS = {
    "naslora_core.sam": "load_sam",
    "naslora_core.data": "folder csv_table coco check open_data",
    "naslora_core.adapters": "adapt fold save_adapter load_adapter METHODS ConvLoRA DecoderOnly "
    "FixedConv Full LoRA NASLoRA NASPCLoRA",
    "naslora_core.adapters.checkpoint": "open_model",
    "naslora_core.training.fitting": "fit",
    "naslora_core.training.evaluation": "evaluate",
    "naslora_core.training.prediction": "predict predict_image",
    "naslora_core.training.early_stopping": "EarlyStopping",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'naslora_core' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return __all__
