"""Conv-LoRA (Zhong et al. 2024): y = W0 x + b + (alpha / r) Wd (z + E_j(z)), z = We x.

The expert j = 1..M of a map (a window, in windowed blocks) is chosen by a gate; expert i convolves
z at i times its resolution. GELU and the choice stand between We and Wd, so nothing of it folds.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from naslora_core.adapters.conv_lora_dispatch import DISPATCHES
from naslora_core.adapters.conv_lora_gate import Gate
from naslora_core.adapters.lora import LoRA, Margins
from naslora_core.adapters.spatial import SpatialLoRALinear
from naslora_core.errors import UserError


class ConvExperts(nn.Module):
    """z `B' r H W` -> z + E(z): M convolutions r -> r with bias, and the gate before them."""

    def __init__(self, rank: int, experts: int, k: int, dispatch: str):
        super().__init__()
        self.dispatch = dispatch
        self.gate = Gate(rank, experts, k)
        self.weight = nn.Parameter(torch.empty(experts, rank, rank, 3, 3))  # M r r 3 3
        self.bias = nn.Parameter(torch.zeros(experts, rank))  # M r
        for weight in self.weight:
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))

    def forward(self, z: Tensor) -> Tensor:
        run = DISPATCHES[self.dispatch]
        # z + E_j(z), j chosen by the gate
        return z + run(z, *self.gate(z), self.weight, self.bias).to(z.dtype)


@dataclass(frozen=True)
class ConvLoRA(LoRA):
    """rank r; lora_alpha: the path's factor is lora_alpha / r; experts M, of which a map takes k.

    dispatch: "fast" (never waits for the host) or "released" (as the released code), equal.
    """

    rank: int = 3
    lora_alpha: float = 32.0
    experts: int = 8
    k: int = 1
    dispatch: str = "fast"
    scale: ClassVar[float]

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.k <= self.experts or self.dispatch not in DISPATCHES:
            raise UserError(
                f"ConvLoRA(experts={self.experts}, k={self.k}, dispatch={self.dispatch!r}): take "
                f"k from 1 to the number of experts, and dispatch of {', '.join(DISPATCHES)}."
            )

    @property
    def scale(self) -> float:
        """alpha / r, which follows from the two and is no setting."""
        return self.lora_alpha / self.rank

    def wrap(self, linear: nn.Module, margins: Margins = (0, 0)) -> nn.Module:
        cell = ConvExperts(self.rank, self.experts, self.k, self.dispatch)
        return SpatialLoRALinear(linear, self.rank, self.scale, cell, margins)
