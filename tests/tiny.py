"""A SAM and a dataset that are quick to train on: bright squares on noise."""

from functools import partial

import numpy as np
import torch
from torch import nn

from naslora_core.data import Dataset, Sample
from naslora_core.sam.sam_nano import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

SIDE, WIDTH, OUT, TOKENS = 64, 40, 32, 8


def build_tiny(depth: int = 2) -> Sam:
    """`build_nano` of a quarter of the sides: 8 x 8 tokens in windows of 4; the last block of two
    is global, of six the third, too. It says that it is sam_nano."""
    encoder = ImageEncoderViT(
        img_size=SIDE, patch_size=8, embed_dim=WIDTH, depth=depth, num_heads=5, out_chans=OUT,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=4,
        global_attn_indexes=(2, depth - 1),
    )  # fmt: skip
    prompts = PromptEncoder(OUT, (TOKENS, TOKENS), (SIDE, SIDE), 4)
    transformer = TwoWayTransformer(depth=1, embedding_dim=OUT, num_heads=2, mlp_dim=64)
    head = dict(iou_head_depth=2, iou_head_hidden_dim=OUT)
    sam = Sam(encoder, prompts, MaskDecoder(transformer_dim=OUT, transformer=transformer, **head))
    sam.model_name = "sam_nano"
    return sam


def tiny_sam(seed: int = 0) -> Sam:
    """Frozen, in eval mode."""
    torch.manual_seed(seed)
    return build_tiny().eval().requires_grad_(False)


def squares(
    count: int, size: int = 128, seed: int = 0, classes: int = 1, name: str = "square"
) -> list[Sample]:
    """Images with one bright square of a random class."""
    found = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        image = rng.integers(0, 120, (size, size, 3), dtype=np.uint8)
        mask = np.zeros((size, size), np.uint8)
        y, x = rng.integers(0, size // 2, 2)
        label = int(rng.integers(1, classes + 1))
        mask[y : y + size // 3, x : x + size // 3] = label
        image[mask > 0] += np.uint8(60 + 40 * label)
        found.append(Sample(image, mask, f"{name}{i}"))
    return found


def tiny_data(count: int = 10, classes: int = 1) -> Dataset:
    """Ten squares to train on, four others to validate, and again four others to test."""
    names = tuple(f"c{i}" for i in range(classes))
    val, test = (squares(4, seed=i, classes=classes, name=n) for i, n in ((1, "val"), (2, "test")))
    return Dataset("squares", names, squares(count, classes=classes), val, test)
