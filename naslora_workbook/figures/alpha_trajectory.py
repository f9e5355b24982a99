"""What alpha did during a search, from the events of training alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from naslora_workbook.figures.curves import alpha_of


@dataclass(frozen=True)
class Trajectory:
    """steps `T`; probability `T n ops` of every alpha vector; moved `T`: whether alpha moved."""

    steps: np.ndarray
    probability: np.ndarray
    moved: np.ndarray


def trajectory(history: Sequence[dict]) -> Trajectory:
    """The trajectory in the events of `fit`."""
    moved = ["alpha" in event["moved"] for event in history if event.get("alpha")]
    return Trajectory(*alpha_of(history), np.array(moved))
