"""segment_anything, with nothing of ours in the model, runs what a pointwise fold wrote."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from adapting import POINTWISE, shaken, small_sam
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from tiny import SIDE
from torch import nn

from naslora_core.adapters import NASLoRA, adapt, cells, fold
from naslora_core.errors import UserError
from naslora_core.sam import SamAutomaticMaskGenerator, SamPredictor
from naslora_core.search import OPERATOR_SETS

NAMES = OPERATOR_SETS["linear"]
SIZES = {
    "nano": {
        "encoder": {"img_size": 128, "patch_size": 8, "embed_dim": 160, "depth": 6, "num_heads": 5},
        "windows": {"window_size": 8, "global_attn_indexes": (2, 5)},
        "prompt": (128, 16, 16),
        "decoder": {"num_heads": 4, "mlp_dim": 512},
        "iou": 128,
    },
    "vit_b": {  # its widths, heads and decoder; two blocks, a smaller image, padded windows
        "encoder": {"img_size": 256, "embed_dim": 768, "depth": 2, "num_heads": 12},
        "windows": {"window_size": 14, "global_attn_indexes": (1,)},
        "prompt": (256, 16, 16),
        "decoder": {"num_heads": 8, "mlp_dim": 2048},
        "iou": 256,
    },
}


def official(size: str) -> Sam:
    """A Sam of segment_anything's own classes; every tensor random."""
    given = SIZES[size]
    wide, tokens, hidden = given["prompt"]
    side = given["encoder"]["img_size"]
    norm = partial(nn.LayerNorm, eps=1e-6)
    how = {"qkv_bias": True, "use_rel_pos": True, "out_chans": wide, "norm_layer": norm}
    transformer = TwoWayTransformer(depth=2, embedding_dim=wide, **given["decoder"])
    sam = Sam(
        ImageEncoderViT(**given["encoder"], **given["windows"], **how),
        PromptEncoder(wide, (tokens, tokens), (side, side), hidden),
        MaskDecoder(
            transformer_dim=wide, transformer=transformer, iou_head_hidden_dim=given["iou"]
        ),
    )
    with torch.no_grad():
        for name, p in sam.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                p.normal_(std=0.1)
    return sam.eval()


def decided(model, names):
    """Every alpha one-hot: the survivors of a search, block by block, in turn."""
    with torch.no_grad():
        for i, cell in enumerate(cells(model).values()):
            cell.arch_alpha.copy_(1e4 * (torch.arange(len(NAMES)) == NAMES.index(names[i % 3])))
    return model


def photograph(side):
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("place", ["window", "map"])
@pytest.mark.parametrize("size", SIZES)
def test_where_every_survivor_is_pointwise_vanilla_gives_the_same_masks(tmp_path, size, place):
    torch.manual_seed(0)
    base = official(size)
    model = decided(shaken(adapt(base, NASLoRA(rank=4, start="plain", place=place))), POINTWISE)
    path = fold(model).save(tmp_path / "mine.pth")
    plain = official(size)
    plain.load_state_dict(torch.load(path, weights_only=True))
    assert {type(m).__module__.split(".")[0] for m in plain.modules()} == {
        "segment_anything",
        "torch",
    }
    rows = plain.mask_decoder.mask_tokens.weight
    assert rows.shape[0] == 4 and torch.equal(rows[1:], base.mask_decoder.mask_tokens.weight[1:])

    image, predictor = photograph(plain.image_encoder.img_size), SamPredictor(plain)
    predictor.set_image(image)
    click, label = np.array([[60.0, 40.0]]), np.array([1])
    batch = torch.from_numpy(image).permute(2, 0, 1).float()[None]
    points = torch.tensor(click).float()[None], torch.tensor(label)[None]
    for multimask in (False, True):
        masks, _, _ = predictor.predict(
            click, label, multimask_output=multimask, return_logits=True
        )
        with torch.no_grad():
            ours = model(batch, points=points, multimask=multimask).masks[0].numpy()
        assert np.abs(ours - masks).max() <= 1e-4 < np.abs(masks).max()
        assert np.array_equal(ours > 0, masks > 0)


def test_the_refusal_names_the_blocks_that_are_not_pointwise(tmp_path):
    names = ("skip", "conv_3x3", "dil_conv_3x3")
    model = decided(adapt(small_sam(), NASLoRA(rank=2, start="plain")), names)
    with pytest.raises(UserError) as refusal:
        fold(model).save(tmp_path / "mine.pth")
    text = str(refusal.value)
    assert "block 1, 4 (a 3 x 3 field" in text and "block 2, 5 (a 5 x 5 field" in text
    assert "block 0" not in text and not list(tmp_path.iterdir())


@pytest.mark.parametrize("place, names", [("window", POINTWISE), ("map", NAMES[3:6])])
def test_automatic_masks_of_the_adapted_model_are_those_of_the_folded_one(place, names):
    model = decided(shaken(adapt(small_sam(), NASLoRA(rank=4, scale=1.0, place=place))), names)
    adapted = copy.deepcopy(model.sam)
    assert automatic(adapted)  # with SAM's own token in row 0; now with the trained one:
    model.head.write_back(adapted.mask_decoder)
    found = [automatic(adapted), automatic(fold(model).model.sam)]
    assert len(found[0]) > 9
    for one, two in zip(*found, strict=True):
        assert np.array_equal(one["segmentation"], two["segmentation"])
        assert one["bbox"] == two["bbox"] and one["point_coords"] == two["point_coords"]


def automatic(sam):
    how = {"pred_iou_thresh": -1e9, "stability_score_thresh": -1.0, "box_nms_thresh": 1.0}
    return SamAutomaticMaskGenerator(sam, points_per_side=3, **how).generate(photograph(SIDE))
