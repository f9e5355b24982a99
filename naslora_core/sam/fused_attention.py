"""SAM's attention through any fused kernel, exactly.

SAM adds q R_h and q R_w to the logits, one bias for every pair of tokens. Appended to the head
dimension they are part of the product:
    q' = [s q, q R_h, q R_w],  k' = [k, onehot(row), onehot(column)],  softmax(q' k'^T) v
so no N x N tensor has to be made or kept, and no mask has to be passed.
"""

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor, nn


class FusedAttention(Attention):
    """The official `Attention`, computed by `scaled_dot_product_attention` on q', k' and v.

    It has the official one's parts under their names, and calls `qkv` and `proj` as modules, so
    state dicts and what wraps them stay as they are.
    """

    def __init__(self, attention: Attention):
        nn.Module.__init__(self)
        self.num_heads, self.scale = attention.num_heads, attention.scale
        self.qkv, self.proj = attention.qkv, attention.proj
        self.use_rel_pos = attention.use_rel_pos
        if self.use_rel_pos:
            self.rel_pos_h, self.rel_pos_w = attention.rel_pos_h, attention.rel_pos_w

    def forward(self, x: Tensor) -> Tensor:
        """`B' H W d` to `B' H W d`, a window or the whole map."""
        q, k, v = self.heads(x)
        q, k = self.placed(q, k, x.shape[1:3])
        return self.join(attend(q, k, v), x.shape)

    def heads(self, x: Tensor) -> Tensor:
        """Channels-last `B' H W d` to queries, keys, values `3 B'*heads H*W c`."""
        B, H, W, d = x.shape
        qkv = self.qkv(x).reshape(B, H * W, 3, self.num_heads, d // self.num_heads)
        return qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)

    def join(self, y: Tensor, shape: torch.Size) -> Tensor:
        """Answers `B'*heads H*W c` to `B' H W d`, projected."""
        B, H, W, _ = shape
        y = y.view(B, self.num_heads, H, W, -1).permute(0, 2, 3, 1, 4)
        return self.proj(y.reshape(B, H, W, -1))

    def biases(self, q: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """q R_h `B'*heads H*W H` and q R_w `B'*heads H*W W`: what a row, a column adds."""
        (H, W), c = size, q.shape[-1]
        R_h, R_w = get_rel_pos(H, H, self.rel_pos_h), get_rel_pos(W, W, self.rel_pos_w)
        grid = q.view(-1, H, W, c)
        rows = torch.einsum("bhwc,hkc->bhwk", grid, R_h).flatten(1, 2)
        return rows, torch.einsum("bhwc,wkc->bhwk", grid, R_w).flatten(1, 2)

    def placed(self, q: Tensor, k: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """q' and k' `B'*heads H*W c+H+W`: places as further dimensions of the heads."""
        H, W = size
        if not self.use_rel_pos:
            return self.scale * q, k
        rows, columns = self.biases(q, size)
        row = torch.eye(H, device=q.device, dtype=k.dtype).repeat_interleave(W, 0)  # HW H
        column = torch.eye(W, device=q.device, dtype=k.dtype).repeat(H, 1)  # HW W
        where = torch.cat([row, column], 1).expand(k.shape[0], -1, -1)  # traced: any batch
        return torch.cat([self.scale * q, rows, columns], -1), torch.cat([k, where], -1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T) v with v padded to the width that fused kernels ask for."""
    width = v.shape[-1]
    v = F.pad(v, (0, q.shape[-1] - width))
    y = F.scaled_dot_product_attention(q[None], k[None], v[None], scale=1.0)
    return y[0, ..., :width]


def fuse(encoder: nn.Module) -> nn.Module:
    """Give every block of an image encoder the fused attention, in place, adapted or not; an
    attention that a method has replaced stays as it is."""
    for block in encoder.blocks:
        if type(block.attn) is Attention:
            block.attn = FusedAttention(block.attn)
    return encoder
