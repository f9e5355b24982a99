"""LoRA (Hu et al. 2022): y = W0 x + b + s Wd We x, on the fused qkv or any Linear of a block."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from naslora_core.adapters.method import Blocks, selected
from naslora_core.adapters.target_layers import places, plus_path
from naslora_core.errors import UserError

Margins = tuple[int, int]


class LoRALinear(nn.Module):
    """A Linear and a low-rank path beside it, channels-last `... d_in` to `... d_out`.

    margins: outputs before and after those that the path adds to (q alone: 0 and 2 d).
    """

    def __init__(self, base: nn.Module, rank: int, scale: float, margins: Margins = (0, 0)):
        super().__init__()
        self.base, self.scale, self.margins = base, scale, margins
        self.in_features, self.out_features = base.in_features, base.out_features
        self.We = nn.Parameter(torch.empty(rank, base.in_features))  # r d_in
        self.Wd = nn.Parameter(torch.zeros(base.out_features - sum(margins), rank))  # zero: y = W0x
        nn.init.kaiming_uniform_(self.We, a=math.sqrt(5))

    def between(self, z: Tensor) -> Tensor:
        """What stands between We and Wd: here nothing."""
        return z

    def forward(self, x: Tensor) -> Tensor:
        # y = W0 x + b + s Wd between(We x)
        z = self.between(x @ self.We.T)
        return plus_path(self.base(x), z, self.Wd, self.scale, self.margins)


@dataclass(frozen=True)
class LoRA:
    """rank r; scale s (the factor on Wd We); blocks: which; linears: of qkv, q, k, v, proj, ...

    s multiplies what a step of Adam moves the path by. 8 is Conv-LoRA's alpha 32 at rank 4, so that
    methods are compared at like scales.
    """

    rank: int = 4
    scale: float = 8.0
    blocks: Blocks = "all"
    linears: tuple[str, ...] = ("qkv",)

    def __post_init__(self):
        if self.rank < 1:
            raise UserError(f"rank={self.rank} leaves no path; take a rank of at least 1.")

    def wrap(self, linear: nn.Module, margins: Margins = (0, 0)) -> nn.Module:
        """The adapted Linear."""
        return LoRALinear(linear, self.rank, self.scale, margins)

    def inject(self, encoder: nn.Module) -> None:
        """Wrap the chosen Linears of every chosen block."""
        for _, block in selected(encoder, self.blocks):
            for place in places(block, self.linears):
                place.put(self.wrap(place.module, place.margins()))
