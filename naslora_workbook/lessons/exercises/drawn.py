"""Random cases of exercises."""

import numpy as np
import torch
from torch import Tensor


def normal(rng: np.random.Generator, *shape: int, kind: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers of this shape."""
    return torch.from_numpy(rng.normal(size=shape)).to(kind)
