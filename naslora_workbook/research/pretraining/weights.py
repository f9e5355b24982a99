"""Which weights of sam_nano records stand on, and which have been trained furthest."""

from functools import cache
from pathlib import Path

from naslora_core.sam import load_sam
from naslora_core.sam.checkpoints import WEIGHTS, base_of

NEXT = WEIGHTS / "next"  # trained further, where there are some; nothing stands on them yet


def latest() -> Path:
    """The folder of the weights that have seen most: NEXT where it is there, else WEIGHTS."""
    return NEXT if (NEXT / "sam_nano.json").exists() else WEIGHTS


@cache
def in_use() -> str:
    """`base_of` the packaged weights."""
    return base_of(load_sam())
