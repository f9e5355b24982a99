"""SSF (Lian et al. 2022): scale and shift, gamma y + beta, after every layer of a block."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from naslora_core.adapters.adaptation import Blocks, method, require_unadapted, selected


class ScaleShift(nn.Module):
    """A frozen Linear or LayerNorm, then gamma and beta, `... d_in` to `... d_out`."""

    def __init__(self, base: nn.Module):
        super().__init__()
        self.base = base
        self.gamma = nn.Parameter(torch.ones(len(base.weight)))  # d_out
        self.beta = nn.Parameter(torch.zeros(len(base.weight)))  # d_out

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * self.base(x) + self.beta

    @torch.no_grad()
    def fold(self, block: int, name: str) -> tuple[nn.Module, list]:
        """The same function as one frozen Linear or LayerNorm, and nothing to report."""
        layer = copy.deepcopy(self.base)
        gamma = self.gamma.view(-1, *[1] * (layer.weight.ndim - 1))
        bias = 0 if layer.bias is None else layer.bias
        # W <- gamma W, b <- gamma b + beta
        layer.weight = nn.Parameter(gamma * layer.weight, requires_grad=False)
        layer.bias = nn.Parameter(self.gamma * bias + self.beta, requires_grad=False)
        return layer, []


@method("ssf", label="SSF")
@dataclass(frozen=True)
class SSF:
    """blocks: where; in each after norm1, qkv, proj, norm2, lin1 and lin2."""

    blocks: Blocks = "all"

    def inject(self, encoder: nn.Module) -> None:
        """Follow every Linear and LayerNorm of the chosen blocks."""
        for i, block in selected(encoder, self.blocks):
            attn, mlp = (block.attn, ("qkv", "proj")), (block.mlp, ("lin1", "lin2"))
            for part, names in ((block, ("norm1", "norm2")), attn, mlp):
                for name in names:
                    layer = getattr(part, name, None)
                    kinds = nn.Linear, nn.LayerNorm
                    setattr(part, name, ScaleShift(require_unadapted(layer, kinds, f"Block {i}")))
