"""LoRA (Hu et al. 2022) on the fused qkv: y = W0 x + b + s Wd We x."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from naslora_core.adapters.base import Blocks, selected
from naslora_core.errors import UserError


class LoRALinear(nn.Module):
    """A frozen Linear and a low-rank path beside it, channels-last `... d_in` to `... d_out`."""

    def __init__(self, base: nn.Linear, rank: int, scale: float):
        super().__init__()
        self.base, self.scale = base, scale
        self.We = nn.Parameter(torch.empty(rank, base.in_features))  # r d_in
        self.Wd = nn.Parameter(torch.zeros(base.out_features, rank))  # d_out r, zero: y = W0 x + b
        nn.init.kaiming_uniform_(self.We, a=math.sqrt(5))

    def between(self, z: Tensor) -> Tensor:
        """What stands between We and Wd: here nothing."""
        return z

    def forward(self, x: Tensor) -> Tensor:
        # y = W0 x + b + s Wd between(We x)
        return self.base(x) + self.scale * (self.between(x @ self.We.T) @ self.Wd.T)


@dataclass(frozen=True)
class LoRA:
    """rank r; scale s (the factor on Wd We); blocks: where."""

    rank: int = 4
    scale: float = 1.0
    blocks: Blocks = "all"

    def __post_init__(self):
        if self.rank < 1:
            raise UserError(f"rank={self.rank} leaves no path; take a rank of at least 1.")

    def wrap(self, linear: nn.Linear) -> nn.Module:
        """The adapted Linear."""
        return LoRALinear(linear, self.rank, self.scale)

    def inject(self, encoder: nn.Module) -> None:
        """Wrap the fused qkv of every chosen block."""
        for i, block in selected(encoder, self.blocks):
            if not isinstance(block.attn.qkv, nn.Linear):
                raise UserError(f"Block {i} already carries an adapter; adapt the base instead.")
            block.attn.qkv = self.wrap(block.attn.qkv)
