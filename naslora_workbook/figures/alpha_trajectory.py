"""What alpha did during a search, from the events of training alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trajectory:
    """steps `T`; probability `T n ops` of every alpha vector; moved `T`: whether alpha moved."""

    steps: np.ndarray
    probability: np.ndarray
    moved: np.ndarray

    @property
    def entropy(self) -> np.ndarray:
        """`T n`: 1 uniform, 0 one-hot."""
        p = self.probability
        logs = np.log(p, where=p > 0, out=np.zeros_like(p))
        return -(p * logs).sum(-1) / np.log(max(p.shape[-1], 2))

    @property
    def margin(self) -> np.ndarray:
        """`T n`: the winner's probability minus the second's."""
        ordered = np.sort(self.probability, -1)
        second = ordered[..., -2] if ordered.shape[-1] > 1 else 0.0
        return ordered[..., -1] - second

    @property
    def winner(self) -> np.ndarray:
        """`T n`: the number of the most probable operator."""
        return self.probability.argmax(-1)

    @property
    def flips(self) -> np.ndarray:
        """`n`: how often the winner changed. Before alpha has moved there is no winner to lose."""
        return (np.diff(self.winner[self.moved.cumsum() > 0], axis=0) != 0).sum(0)


def trajectory(history: Sequence[dict]) -> Trajectory | None:
    """The trajectory in the events of `fit`; None where nothing was searched."""
    events = [e for e in history if e.get("alpha")]
    if not events:
        return None
    moved = [("alpha" in e["moved"]) for e in events]
    steps = np.array([e["step"] for e in events])
    return Trajectory(steps, np.array([e["alpha"] for e in events]), np.array(moved))
