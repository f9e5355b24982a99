"""Keep less for the backward pass: of every block only its input, the rest is computed again."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def checkpointed(encoder: nn.Module | None, on: bool = True) -> Iterator[None]:
    """Inside, each transformer block of an image encoder keeps its input `B H W d` alone; what has
    no such blocks (a U-Net, LST's ladder) stays as it is.

    The same gradients for about a third more time, one more forward pass (Chen et al. 2016). Names
    and tensors of the encoder stay as they are; noise in a block is drawn the same twice, and batch
    statistics (of a DARTS operator) move once.
    """
    blocks = list(getattr(encoder, "blocks", ())) if on else []
    for block in blocks:
        # around a block's first forward pass nothing, around the one that is computed again _Still
        how = {"use_reentrant": False, "context_fn": lambda b=block: (nullcontext(), _Still(b))}
        block.forward = partial(checkpoint, block.forward, **how)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


class _Still:
    """Inside, the running statistics of batch norms stay as they are, and what the encoder mixed
    for this forward pass (`mixed` of a searchable cell) is there again."""

    def __init__(self, block: nn.Module):
        self.norms = {m: m.momentum for m in block.modules() if isinstance(m, nn.BatchNorm2d)}
        self.mixed = {m: m.mixed for m in block.modules() if hasattr(m, "mixed")}

    def __enter__(self) -> None:
        for norm in self.norms:
            norm.momentum = 0.0
        for cell, mixed in self.mixed.items():
            cell.mixed = mixed

    def __exit__(self, *_) -> None:
        for norm, momentum in self.norms.items():
            norm.momentum = momentum
        for cell in self.mixed:
            cell.mixed = None
