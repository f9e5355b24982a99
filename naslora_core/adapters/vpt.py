"""VPT deep (Jia et al. 2022): learned tokens in every block, as extra keys and values."""

import math
from dataclasses import dataclass

import torch
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor, nn

from naslora_core.adapters.adaptation import Blocks, method, require_unadapted, selected
from naslora_core.errors import UserError
from naslora_core.sam.fused_attention import PromptedAttention


@method("vpt", label="VPT")
@dataclass(frozen=True)
class VPT:
    """tokens p, in every window of a block; blocks: where. L p d parameters.

    Deep prompts are replaced at the next block, so what a block makes of them is never read: keys
    and values are all of them. They stand after norm1. Softmax shares its weight with them, so the
    model does NOT begin as the base.
    """

    tokens: int = 10
    blocks: Blocks = "all"

    def __post_init__(self):
        if self.tokens < 1:
            raise UserError(f"tokens={self.tokens} learns nothing; take at least 1 a block.")

    def inject(self, encoder: nn.Module) -> None:
        """Give the attention of every chosen block its own tokens."""
        for i, block in selected(encoder, self.blocks):
            attention = require_unadapted(block.attn, Attention, f"Block {i}")
            block.attn = PromptedAttention(attention, self.start(encoder.patch_embed.proj))

    def start(self, patches: nn.Conv2d) -> Tensor:
        """Tokens `p d`, uniform as Jia draws them: Xavier over a patch's values and d."""
        dim, values = patches.out_channels, patches.weight[0].numel()
        limit = math.sqrt(6 / (values + dim))
        return torch.empty(self.tokens, dim).uniform_(-limit, limit)
