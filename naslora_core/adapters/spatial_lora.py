"""A spatial map between LoRA's encoder and decoder: y = W0 x + b + s Wd C(We x).

SAM's qkv receives channels-last tokens `B' H W d` (a window or the whole map) without a class
token, so a permutation is all that a convolution needs.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.lora import LoRA, LoRALinear, Margins
from naslora_core.adapters.method import selected
from naslora_core.adapters.windows import PLACES, Windows, on_map, windows_of
from naslora_core.errors import UserError, known


class SpatialLoRALinear(LoRALinear):
    """LoRA with a `cell` on the low-rank map z = We x, seen as `B' r H W`.

    windows: None, or those that are joined to the whole map `B r H W` before the cell.
    """

    def __init__(self, base: nn.Module, rank: int, scale: float, cell: nn.Module, margins=(0, 0)):
        super().__init__(base, rank, scale, margins)
        self.cell = cell
        self.windows: Windows | None = None

    def between(self, z: Tensor) -> Tensor:
        return on_map(self.cell, z, self.windows)


class SkipConv(nn.Module):
    """z + K * z with one convolution r -> r."""

    def __init__(self, rank: int, side: int, start: str = "zero"):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rank, rank, side, side))
        if start == "random":
            nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def kernel(self) -> Tensor:
        """The effective kernel: the identity and K."""
        eye = torch.eye(len(self.weight), dtype=self.weight.dtype, device=self.weight.device)
        return self.weight + F.pad(eye[..., None, None], (self.weight.shape[-1] // 2,) * 4)

    def forward(self, z: Tensor) -> Tensor:
        return z + F.conv2d(z, self.weight, padding=self.weight.shape[-1] // 2)


@dataclass(frozen=True)
class SpatialLoRA(LoRA):
    """place: the cell sees a "window" alone, as in the papers, or the whole "map" before partition.

    On the map no window has a border of its own, and padding neither writes nor is read. Global
    blocks, lin1 and lin2 see the whole map anyway.
    """

    place: str = "window"

    def __post_init__(self):
        super().__post_init__()
        known(self.place, PLACES, "Unknown place")

    def inject(self, encoder: nn.Module) -> None:
        """Wrap the Linears, and tell those in windows of the map, where it is wanted."""
        super().inject(encoder)
        if self.place == "map":
            for _, block in selected(encoder, self.blocks):
                for layer in block.attn.modules():
                    if isinstance(layer, SpatialLoRALinear):
                        layer.windows = windows_of(encoder, block)


@dataclass(frozen=True)
class FixedConv(SpatialLoRA):
    """The simplest spatial prior: one `side x side` operator beside a skip, nothing searched.

    start of K: "zero", or "random" as a Conv2d has it; Wd is zero, so both begin as the base.
    """

    side: int = 3
    start: str = "zero"

    def __post_init__(self):
        super().__post_init__()
        if self.side < 1 or self.side % 2 == 0 or self.start not in ("zero", "random"):
            raise UserError(
                f"FixedConv(side={self.side}, start={self.start!r}): side is odd (3 or 5), start "
                "is 'zero' or 'random'."
            )

    def wrap(self, linear: nn.Module, margins: Margins = (0, 0)) -> nn.Module:
        conv = SkipConv(self.rank, self.side, self.start)
        return SpatialLoRALinear(linear, self.rank, self.scale, conv, margins)
