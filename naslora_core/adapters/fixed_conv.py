"""A fixed convolution between LoRA's We and Wd: y = W0 x + b + s Wd (z + K * z), z = We x."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.adaptation import method
from naslora_core.adapters.lora import LoRA
from naslora_core.errors import UserError
from naslora_core.search.operator_registry import identity


class SkipConv(nn.Module):
    """z + K * z with one convolution r -> r, which starts at zero."""

    def __init__(self, rank: int, side: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rank, rank, side, side))

    def kernel(self) -> Tensor:
        """The effective kernel `r r k k`: the identity and K."""
        return self.weight + identity(*self.weight.shape[1:3]).to(self.weight)

    def forward(self, z: Tensor) -> Tensor:
        return z + F.conv2d(z, self.weight, padding=self.weight.shape[-1] // 2)


@method("fixed_conv", label="fixed 3x3")
@dataclass(frozen=True)
class FixedConv(LoRA):
    """The simplest spatial prior: one `side x side` operator beside a skip, nothing searched.

    place: the cell sees a "window" alone, as in the papers, or the whole "map" before partition.
    On the map no window has a border of its own, and padding neither writes nor is read. Global
    blocks, lin1 and lin2 see the whole map anyway.
    """

    place: str = "window"
    side: int = 3

    def __post_init__(self):
        super().__post_init__()
        if self.side < 1 or self.side % 2 == 0:
            raise UserError(f"FixedConv(side={self.side}) has no centre; take 3 or 5.")

    def cell(self) -> nn.Module:
        return SkipConv(self.rank, self.side)
