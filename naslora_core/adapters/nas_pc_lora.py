"""NAS-PC-LoRA (Chen, Su, Tang 2025): only the first r / K channels of z are searched.

y = W0 x + b + s Wd [C(z_1 .. z_{r/K}), z_{r/K+1} .. z_r] with C the searchable cell, z = We x.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.adaptation import method
from naslora_core.adapters.lora import LoRA
from naslora_core.adapters.nas_lora import SHARES, arrange_alphas
from naslora_core.errors import UserError, known
from naslora_core.search import Cell
from naslora_core.search.operator_registry import identity


class PartialCell(nn.Module):
    """z `B' r H W` -> the same shape: a `cell` on its first channels, the others copied.

    PC-DARTS shuffles the channels afterwards; here Wd follows, which takes any order of channels,
    so a shuffle would change nothing.
    """

    def __init__(self, cell: Cell, rank: int):
        super().__init__()
        self.cell, self.rank = cell, rank

    @property
    def searched(self) -> slice:
        """The columns of Wd that read the searched channels."""
        return slice(self.cell.rank)

    @property
    def why_unfoldable(self) -> str:
        """The cell's reason; empty if it folds."""
        return self.cell.why_unfoldable

    def kernel(self) -> Tensor:
        """The effective kernel `r r k k`: the cell's, and the identity for what is copied."""
        searched, copied = self.cell.kernel(), self.rank - self.cell.rank
        side = searched.shape[-1]
        # K = [[K_cell, 0], [0, I]]
        above = F.pad(searched, (0, 0, 0, 0, 0, copied))
        below = F.pad(identity(copied, side).to(searched), (0, 0, 0, 0, self.cell.rank, 0))
        return torch.cat([above, below])

    def forward(self, z: Tensor) -> Tensor:
        searched, copied = z.split([self.cell.rank, self.rank - self.cell.rank], 1)
        return torch.cat([self.cell(searched), copied], 1)


@method("nas_pc_lora", label="NAS-PC-LoRA")
@dataclass(frozen=True)
class NASPCLoRA(LoRA):
    """partial K: the share 1 / K of the rank that is searched, of at least two channels.

    The other settings are those of NASLoRA.
    """

    place: str = "window"
    operators: str | tuple[str, ...] = "linear"
    start: str = "beside"
    share: str = "block"
    searches: bool = True
    partial: int = 2

    def __post_init__(self):
        super().__post_init__()
        known(self.share, SHARES, "Unknown share")
        legal = [k for k in range(1, self.rank // 2 + 1) if self.rank % k == 0]
        if self.partial not in legal:
            remedy = f"take {' or '.join(map(str, legal))}" if legal else "raise the rank to 2"
            raise UserError(
                f"partial={self.partial} does not split rank={self.rank} into equal groups of at "
                f"least two channels; {remedy}."
            )

    def cell(self) -> nn.Module:
        cell = Cell(self.rank // self.partial, self.operators, self.start)
        return PartialCell(cell, self.rank)

    def inject(self, encoder: nn.Module) -> None:
        """Wrap the Linears, then arrange their alphas."""
        super().inject(encoder)
        arrange_alphas(encoder, self)
