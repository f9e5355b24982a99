"""VPT deep (Jia et al. 2022): learned tokens in every block, as extra keys and values."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, add_decomposed_rel_pos
from torch import Tensor, nn

from naslora_core.adapters.adaptation import Blocks, method, require_unadapted, selected
from naslora_core.errors import UserError
from naslora_core.sam.fused_attention import FusedAttention, attend


class PromptedAttention(FusedAttention):
    """An `Attention` whose windows also attend to learned tokens `p d`; p = 0 is the official.

    It computes as what it was made on: the official way, or fused.
    """

    why_unfoldable = "a softmax over more keys is no softmax over fewer"

    def __init__(self, attention: Attention, tokens: Tensor):
        super().__init__(attention)
        self.tokens, self.fused = nn.Parameter(tokens), isinstance(attention, FusedAttention)

    def learned(self, windows: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the learned tokens, the same in every window: `B'*heads p c`."""
        _, k, v = self.heads(self.tokens[None, None])
        return k.repeat(windows, 1, 1), v.repeat(windows, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`B' H W d` to `B' H W d`; a learned token has no place: its logit is s q k alone."""
        q, k, v = self.heads(x)
        more_k, more_v = self.learned(len(x))
        v = torch.cat([v, more_v], 1)
        if self.fused:
            near, k = self.placed(q, k, x.shape[1:3])
            k = torch.cat([k, F.pad(more_k, (0, k.shape[-1] - more_k.shape[-1]))], 1)
            return self.join(attend(near, k, v), x.shape)
        logits = (q * self.scale) @ k.transpose(-2, -1)
        if self.use_rel_pos:
            tables, size = (self.rel_pos_h, self.rel_pos_w), x.shape[1:3]
            logits = add_decomposed_rel_pos(logits, q, *tables, size, size)
        logits = torch.cat([logits, (q * self.scale) @ more_k.transpose(-2, -1)], -1)
        return self.join(logits.softmax(-1) @ v, x.shape)


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
            free = None if isinstance(block.attn, PromptedAttention) else block.attn
            attention = require_unadapted(free, Attention, f"Block {i}")
            block.attn = PromptedAttention(attention, self.start(encoder.patch_embed.proj))

    def start(self, patches: nn.Conv2d) -> Tensor:
        """Tokens `p d`, uniform as Jia draws them: Xavier over a patch's values and d."""
        dim, values = patches.out_channels, patches.weight[0].numel()
        limit = math.sqrt(6 / (values + dim))
        return torch.empty(self.tokens, dim).uniform_(-limit, limit)
