"""SAM's attention with learned tokens beside those of the image."""

import torch
from segment_anything.modeling.image_encoder import add_decomposed_rel_pos
from torch import Tensor, nn


class PromptedAttention(nn.Module):
    """An official `Attention` whose windows also attend to learned tokens `p d`.

    It keeps the official parts under their names and calls `qkv` and `proj` as modules, so what
    wraps them stays. With p = 0 it is the official attention.
    """

    def __init__(self, attention: nn.Module, tokens: Tensor):
        super().__init__()
        self.num_heads, self.scale = attention.num_heads, attention.scale
        self.qkv, self.proj = attention.qkv, attention.proj
        self.use_rel_pos = attention.use_rel_pos
        if self.use_rel_pos:
            self.rel_pos_h, self.rel_pos_w = attention.rel_pos_h, attention.rel_pos_w
        self.tokens = nn.Parameter(tokens)

    def heads(self, x: Tensor) -> Tensor:
        """Channels-last `B' H W d` to queries, keys, values `3 B'*heads H*W c`."""
        B, H, W, d = x.shape
        qkv = self.qkv(x).reshape(B, H * W, 3, self.num_heads, d // self.num_heads)
        return qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)

    def learned(self, windows: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the learned tokens, the same in every window: `B'*heads p c`."""
        _, k, v = self.heads(self.tokens[None, None])
        return k.repeat(windows, 1, 1), v.repeat(windows, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`B' H W d` to `B' H W d`, a window or the whole map."""
        B, H, W, _ = x.shape
        q, k, v = self.heads(x)
        more_k, more_v = self.learned(B)
        logits = (q * self.scale) @ k.transpose(-2, -1)
        if self.use_rel_pos:
            tables = self.rel_pos_h, self.rel_pos_w
            logits = add_decomposed_rel_pos(logits, q, *tables, (H, W), (H, W))
        # a learned token has no place: its logit is s q k alone
        logits = torch.cat([logits, (q * self.scale) @ more_k.transpose(-2, -1)], -1)
        y = logits.softmax(-1) @ torch.cat([v, more_v], 1)
        y = y.view(B, self.num_heads, H, W, -1).permute(0, 2, 3, 1, 4)
        return self.proj(y.reshape(B, H, W, -1))
