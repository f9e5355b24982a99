"""The bottleneck adapter (Houlsby et al. 2019), parallel to the MLP (AdaptFormer, 2022)."""

from dataclasses import dataclass

import torch
from segment_anything.modeling.common import MLPBlock
from torch import Tensor, nn

from naslora_core.adapters.adaptation import Blocks, method, require_unadapted, selected
from naslora_core.errors import UserError


class ParallelMLP(nn.Module):
    """A frozen MLP and a bottleneck beside it, channels-last `B h w d` to `B h w d`."""

    why_unfoldable = "a ReLU between two Linears is no Linear"

    def __init__(self, base: nn.Module, dim: int, width: int, scale: float):
        super().__init__()
        self.base, self.scale = base, scale
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        # y = MLP(x) + s W_up ReLU(W_down x)
        return self.base(x) + self.scale * self.up(torch.relu(self.down(x)))


@method("bottleneck", label="Adapter")
@dataclass(frozen=True)
class BottleneckAdapter:
    """width m between W_down and W_up; scale s; blocks: where. L (2 d m + m + d) parameters."""

    width: int = 64
    scale: float = 0.1
    blocks: Blocks = "all"

    def __post_init__(self):
        if self.width < 1:
            raise UserError(f"width={self.width} leaves no path; take a width of at least 1.")

    def inject(self, encoder: nn.Module) -> None:
        """Put a bottleneck beside the MLP of every chosen block."""
        dim = encoder.patch_embed.proj.out_channels
        for i, block in selected(encoder, self.blocks):
            mlp = require_unadapted(block.mlp, MLPBlock, f"Block {i}")
            block.mlp = ParallelMLP(mlp, dim, self.width, self.scale)
