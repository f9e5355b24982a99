"""Random cases of exercises, and the answers of someone who overlooks a fault."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def normal(rng: np.random.Generator, *shape: int, kind: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers of this shape."""
    return torch.from_numpy(rng.normal(size=shape)).to(kind)


def single(rng: np.random.Generator, *shape: int) -> Tensor:
    """The same in float32."""
    return normal(rng, *shape, kind=torch.float32)


def integers(rng: np.random.Generator, *ranges: tuple[int, int]) -> list[int]:
    """A whole number of each range, its end left out."""
    return [int(rng.integers(*ends)) for ends in ranges]


def overlooks(reference: Callable, fault: str, instead: str = "honest") -> Callable:
    """The answer of someone who does not find this fault."""

    def answer(*given):
        found = reference(*given)
        return instead if found == fault else found

    return answer


def lettered(make: Callable, *kinds: type) -> dict[str, object]:
    """What `make` makes of every kind, by letter: A, B, ..."""
    return {letter: make(kind) for letter, kind in zip("ABCD", kinds, strict=True)}
