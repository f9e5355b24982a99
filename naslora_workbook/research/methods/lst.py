"""Ladder side tuning (Sung et al. 2022): a small network beside an encoder that runs forward only.

h_i = side_i( sigma(g_i) P_i f_i + (1 - sigma(g_i)) h_{i-1} ), f_i the output of block i,
f_0 the patch embeddings with their positions, and h_0 = P_0 f_0.
"""

import math
from dataclasses import dataclass

import torch
from segment_anything.modeling.image_encoder import Block
from torch import Tensor, nn

from naslora_core.adapters.adaptation import Blocks, method, selected
from naslora_workbook.research.methods.encoder_wrapper import EncoderWrapper


class Rung(nn.Module):
    """One step: frozen `B h w d` and ladder `B h w w'` to ladder `B h w w'`."""

    def __init__(self, block: nn.Module, dim: int, width: int):
        super().__init__()
        heads = math.gcd(width, max(1, block.attn.num_heads * width // dim))
        self.down = nn.Linear(dim, width)  # P_i
        self.gate = nn.Parameter(torch.zeros(1))  # g_i, sigma(0) = 1 / 2
        self.side = Block(width, heads, window_size=block.window_size)

    def forward(self, frozen: Tensor, h: Tensor) -> Tensor:
        gate = self.gate.sigmoid()
        # h_i = side_i( sigma(g_i) P_i f_i + (1 - sigma(g_i)) h_{i-1} )
        return self.side(gate * self.down(frozen) + (1 - gate) * h)


class LadderEncoder(EncoderWrapper):
    """The frozen encoder and its ladder, `B 3 S S` to `B C h w`."""

    why_unfoldable = "a network beside the encoder is not in it"

    def __init__(self, encoder: nn.Module, reduction: int, blocks: Blocks):
        super().__init__(encoder)
        width, dim = self.width(reduction), encoder.patch_embed.proj.out_channels
        self.first = nn.Linear(dim, width)  # h_0 = P_0 f_0
        chosen = selected(encoder, blocks)
        self.rungs = nn.ModuleDict({str(i): Rung(b, dim, width) for i, b in chosen})
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, encoder.neck[0].out_channels)
        for zero in self.last.parameters():
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        f = frozen(lambda image: self.placed(self.patch_embed(image)), x)
        h = self.first(f)
        for i, block in enumerate(self.blocks):
            f = frozen(block, f)
            h = self.rungs[str(i)](f, h) if str(i) in self.rungs else h
        embedding = frozen(self.neck, f.permute(0, 3, 1, 2))
        return embedding + self.last(self.norm(h)).permute(0, 3, 1, 2)


@torch.no_grad()
def frozen(part, x: Tensor) -> Tensor:
    """A part of the encoder, of which nothing is kept for a backward pass."""
    return part(x)


@method("lst", label="LST")
@dataclass(frozen=True)
class LST:
    """reduction: side blocks have width d / reduction; blocks: which f_i have a rung.

    The ladder is added after the neck: before it, a backward pass would go through the neck's
    frozen convolutions. Side blocks are official Blocks with the windows of theirs, without
    relative positions, drawn at random (Sung prunes the base for a start).
    """

    reduction: int = 8
    blocks: Blocks = "all"

    def inject(self, encoder: nn.Module) -> nn.Module:
        """The encoder with its ladder."""
        return LadderEncoder(encoder, self.reduction, self.blocks)
