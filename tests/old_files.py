"""The tiny SAM that the adapter files in `fixtures/adapters` were trained on.

Its tensors are small integers over 64, drawn by numpy, so its hash is the same on every machine.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

import naslora_core.sam  # noqa: F401  (heals torchvision first)

FOLDER = Path(__file__).parent / "fixtures" / "adapters"
SIDE, WIDTH, OUT = 32, 16, 32


def tiny_sam() -> Sam:
    """32 x 32 images, 4 x 4 tokens in windows of 2, two blocks of width 16."""
    layer_norm = partial(nn.LayerNorm, eps=1e-6)
    sizes = dict(img_size=SIDE, patch_size=8, embed_dim=WIDTH, depth=2, num_heads=2, out_chans=OUT)
    windows = dict(use_rel_pos=True, window_size=2, global_attn_indexes=(1,))
    transformer = TwoWayTransformer(depth=1, embedding_dim=OUT, num_heads=2, mlp_dim=16)
    head = dict(iou_head_depth=2, iou_head_hidden_dim=16)
    sam = Sam(
        ImageEncoderViT(**sizes, **windows, norm_layer=layer_norm),
        PromptEncoder(OUT, (4, 4), (SIDE, SIDE), 4),
        MaskDecoder(transformer_dim=OUT, transformer=transformer, **head),
    )
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for name, p in sorted(sam.state_dict().items()):
            if not name.startswith("pixel"):
                p.copy_(torch.from_numpy(rng.integers(-16, 17, tuple(p.shape)) / 64))
    sam.model_name = "tiny"
    return sam.eval().requires_grad_(False)


def tiny_images(count: int = 1) -> torch.Tensor:
    """Images `B 3 32 32` in 0..255."""
    drawn = np.random.default_rng(1).integers(0, 256, (count, 3, SIDE, SIDE))
    return torch.from_numpy(drawn).float()
