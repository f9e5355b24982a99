"""NAS-LoRA (Chen, Su, Tang 2025): y = W0 x + b + s Wd sum_i softmax(alpha)_i O_i(We x).

NAS-PC-LoRA, of the same paper, searches the first r / K channels of z = We x only:
y = W0 x + b + s Wd [C(z_1 .. z_{r/K}), z_{r/K+1} .. z_r] with C the searchable cell.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.adaptation import method, selected
from naslora_core.adapters.lora import LoRA, LoRALinear
from naslora_core.adapters.target_layers import THIRDS
from naslora_core.errors import UserError, known
from naslora_core.search import Cell
from naslora_core.search.cell import mix_together
from naslora_core.search.operator_registry import identity

SHARES = ("block", "kind", "all")


@method("nas_lora", label="NAS-LoRA")
@dataclass(frozen=True)
class NASLoRA(LoRA):
    """operators: a set's name or a tuple of names; start: "beside", "identity" or "plain".

    place: as FixedConv has it. share: an alpha for every cell ("block"), one for the windowed and
    one for the global blocks ("kind"), or one for "all". searches: whether alpha moves; if not, it
    stays uniform, which scores the same with the default operators, and .010 to .025 IoU less where
    12 of 18 candidates hurt (lesson 12).
    """

    place: str = "window"
    operators: str | tuple[str, ...] = "linear"
    start: str = "beside"
    share: str = "block"
    searches: bool = True

    def __post_init__(self):
        super().__post_init__()
        known(self.share, SHARES, "Unknown share")

    def cell(self) -> nn.Module:
        return Cell(self.rank, self.operators, self.start)

    def inject(self, encoder: nn.Module) -> None:
        """Wrap the Linears; then let cells share alpha, and freeze it where nothing is searched."""
        LoRA.inject(self, encoder)
        arrange_alphas(encoder, self)


class PartialCell(nn.Module):
    """z `B' r H W` -> the same shape: a `cell` on its first channels, the others copied."""

    def __init__(self, cell: Cell, rank: int):
        super().__init__()
        self.cell, self.rank = cell, rank

    @property
    def searched(self) -> slice:
        """The columns of Wd that read the searched channels."""
        return slice(self.cell.rank)

    why_unfoldable = property(lambda self: self.cell.why_unfoldable)

    def kernel(self) -> Tensor:
        """The effective kernel `r r k k`: the cell's, and the identity for what is copied."""
        searched, copied = self.cell.kernel(), self.rank - self.cell.rank
        # K = [[K_cell, 0], [0, I]]
        above = F.pad(searched, (0, 0, 0, 0, 0, copied))
        below = identity(copied, searched.shape[-1]).to(searched)
        return torch.cat([above, F.pad(below, (0, 0, 0, 0, self.cell.rank, 0))])

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
        return PartialCell(Cell(self.rank // self.partial, self.operators, self.start), self.rank)

    inject = NASLoRA.inject


def arrange_alphas(encoder: nn.Module, settings) -> None:
    """Share alpha as `settings.share` says, freeze it unless `settings.searches`, and let the
    encoder mix the kernels of all cells at once."""
    mix_together(encoder)
    device, shared = next(encoder.parameters()).device, {}
    for _, block in selected(encoder, settings.blocks):
        kind = {"kind": block.window_size > 0, "all": "all"}.get(settings.share)
        for cell in (m for m in block.modules() if isinstance(m, Cell)):
            alpha = nn.Parameter(cell.arch_alpha.detach().to(device), settings.searches)
            cell.arch_alpha = alpha if kind is None else shared.setdefault(kind, alpha)


def cells(model: nn.Module) -> dict[str, Cell]:
    """The searchable cells of a model, by block (and Linear, where it is not qkv), in order."""
    return {label: cell for label, (cell, _) in _found(model).items()}


def decoders(model: nn.Module) -> dict[str, Tensor]:
    """The columns `d r` of Wd behind each of `cells`: all, or those of the searched channels."""
    paths = {label: path for label, (_, path) in _found(model).items()}
    return {n: p.Wd[:, getattr(p.cell, "searched", slice(None))] for n, p in paths.items()}


def _found(model: nn.Module) -> dict[str, tuple[Cell, LoRALinear | None]]:
    """Every cell by its label, with the innermost path around it."""
    paths = (m for m in model.modules() if isinstance(m, LoRALinear))
    around = {id(m): path for path in paths for m in path.modules() if isinstance(m, Cell)}
    found = ((n, m, around.get(id(m))) for n, m in model.named_modules() if isinstance(m, Cell))
    return {_label(name, path): (cell, path) for name, cell, path in found}


def _label(name: str, path: LoRALinear | None) -> str:
    """`...blocks.3.attn.qkv.cell` is "block 3", of its v alone "block 3 v", `...blocks.3.mlp.lin1
    .cell` "block 3 mlp.lin1"."""
    number, *rest = name.split("blocks.")[1].split(".")
    where = ".".join(r for r in rest if r not in ("base", "cell")).removeprefix("attn.qkv")
    if path is not None and any(path.margins):
        where += THIRDS[path.margins[0] // len(path.Wd)]
    return f"block {number} {where.strip('.')}".strip()
