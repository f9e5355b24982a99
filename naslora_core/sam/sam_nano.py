"""`sam_nano`: a SAM of about three million parameters, from segment_anything's own classes."""

from functools import partial

from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

IMAGE_SIZE, PATCH, PROMPT_DIM = 128, 8, 128
PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def build_nano(image_size: int = IMAGE_SIZE, patch: int = PATCH) -> Sam:
    """A SAM with random weights: 128x128 input, 16x16 tokens, windows of 8, two global blocks.

    Every part is the official class, so state-dict names, fused `qkv`, relative positions, three
    masks and predicted IoU are those of ViT-B; only the sizes differ.
    """
    tokens = image_size // patch
    encoder = ImageEncoderViT(
        img_size=image_size, patch_size=patch, embed_dim=160, depth=6, num_heads=5, mlp_ratio=4,
        out_chans=PROMPT_DIM, norm_layer=partial(nn.LayerNorm, eps=1e-6), qkv_bias=True,
        use_rel_pos=True, window_size=8, global_attn_indexes=(2, 5),
    )  # fmt: skip
    prompts = PromptEncoder(PROMPT_DIM, (tokens, tokens), (image_size, image_size), 16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=PROMPT_DIM, num_heads=4, mlp_dim=512)
    decoder = MaskDecoder(
        transformer_dim=PROMPT_DIM, transformer=transformer, num_multimask_outputs=3,
        activation=nn.GELU, iou_head_depth=3, iou_head_hidden_dim=128,
    )  # fmt: skip
    sam = Sam(encoder, prompts, decoder, list(PIXEL_MEAN), list(PIXEL_STD))
    sam.model_name = "sam_nano"
    return sam
