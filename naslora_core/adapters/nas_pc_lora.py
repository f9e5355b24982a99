"""NAS-PC-LoRA (Chen, Su, Tang 2025): only the first r / K channels of z are searched.

y = W0 x + b + s Wd [C(z_1 .. z_{r/K}), z_{r/K+1} .. z_r] with C the searchable cell, z = We x.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.lora import Margins
from naslora_core.adapters.nas_lora import NASLoRA
from naslora_core.adapters.spatial_lora import SpatialLoRALinear
from naslora_core.errors import UserError
from naslora_core.search import Cell
from naslora_core.search.operators import identity


class PartialCell(nn.Module):
    """z `B' r H W` -> the same shape: a `cell` on its first channels, the others copied.

    shuffle: interleave K groups of channels afterwards, as PC-DARTS does between its layers. Here
    Wd follows, which takes any order: with its columns permuted nothing changes.
    """

    def __init__(self, cell: Cell, rank: int, shuffle: bool = False):
        super().__init__()
        self.cell, self.shuffle = cell, shuffle
        order = torch.arange(rank)
        order = order.view(-1, cell.rank).T.flatten() if shuffle else order
        self.register_buffer("order", order, persistent=False)  # r

    @property
    def searched(self) -> Tensor:
        """The columns of Wd that read the searched channels."""
        return self.order.argsort()[: self.cell.rank]

    @property
    def operators(self) -> nn.ModuleList:
        """The operators of the searched channels."""
        return self.cell.operators

    def kernel(self) -> Tensor:
        """The effective kernel `r r k k`: the cell's, and the identity for what is copied."""
        searched, copied = self.cell.kernel(), len(self.order) - self.cell.rank
        side = searched.shape[-1]
        # K = [[K_cell, 0], [0, I]]
        above = F.pad(searched, (0, 0, 0, 0, 0, copied))
        below = F.pad(identity(copied, side).to(searched), (0, 0, 0, 0, self.cell.rank, 0))
        return torch.cat([above, below])[self.order]

    def forward(self, z: Tensor) -> Tensor:
        searched, copied = z[:, : self.cell.rank], z[:, self.cell.rank :]
        out = torch.cat([self.cell(searched), copied], 1)
        return out[:, self.order] if self.shuffle else out


@dataclass(frozen=True)
class NASPCLoRA(NASLoRA):
    """partial K: the share 1 / K of the rank that is searched, of at least two channels."""

    partial: int = 2
    shuffle: bool = False

    def __post_init__(self):
        super().__post_init__()
        legal = [k for k in range(1, self.rank // 2 + 1) if self.rank % k == 0]
        if self.partial not in legal:
            remedy = f"take {' or '.join(map(str, legal))}" if legal else "raise the rank to 2"
            raise UserError(
                f"partial={self.partial} does not split rank={self.rank} into equal groups of at "
                f"least two channels; {remedy}."
            )

    def wrap(self, linear: nn.Module, margins: Margins = (0, 0)) -> nn.Module:
        cell = Cell(self.rank // self.partial, self.operators, self.start)
        cell = PartialCell(cell, self.rank, self.shuffle)
        return SpatialLoRALinear(linear, self.rank, self.scale, cell, margins)
