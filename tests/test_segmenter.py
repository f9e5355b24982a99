"""The differentiable segmenter is SAM: SamPredictor's masks, for a batch, with gradients."""

import numpy as np
import pytest
import torch

from naslora_core.errors import UserError
from naslora_core.sam import (
    MaskHead,
    SamAutomaticMaskGenerator,
    SamPredictor,
    Segmenter,
    build_nano,
)


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return build_nano().eval()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)


def as_batch(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


CLICKS = np.array([[40.0, 50.0], [90.0, 20.0]])
LABELS = np.array([1, 0])
BOX = np.array([10.0, 20.0, 80.0, 90.0])


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("prompt", ["clicks", "box", "both"])
def test_equals_sam_predictor(sam, images, prompt, multimask):
    asked, given = {}, {}
    if prompt in ("clicks", "both"):
        asked |= {"point_coords": CLICKS, "point_labels": LABELS}
        points = torch.tensor(CLICKS).float().expand(3, -1, -1), torch.tensor(LABELS).expand(3, -1)
        given["points"] = points
    if prompt in ("box", "both"):
        asked["box"] = BOX
        given["boxes"] = torch.tensor(BOX).float().expand(3, -1)
    with torch.no_grad():
        out = Segmenter(sam)(as_batch(images), **given, multimask=multimask)
    predictor = SamPredictor(sam)
    for i, image in enumerate(images):
        predictor.set_image(image)
        kwargs = {"multimask_output": multimask, "return_logits": True}
        masks, confidence, low = predictor.predict(**asked, **kwargs)
        assert np.abs(out.masks[i].numpy() - masks).max() < 1e-4
        assert np.abs(out.low_res[i].numpy() - low).max() < 1e-4
        assert np.abs(out.iou[i].numpy() - confidence).max() < 1e-4


def test_a_mask_prompt_and_a_prompt_free_pass_equal_the_official_parts(sam, images):
    batch, model = as_batch(images[:1]), Segmenter(sam)
    guess = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        embedding = model.encode(model.preprocess(batch))
        assert torch.equal(embedding, sam.image_encoder(sam.preprocess(batch)))
        for mask in (guess, None):
            sparse, dense = sam.prompt_encoder(None, None, mask)
            pe = sam.prompt_encoder.get_dense_pe()
            wanted, _ = sam.mask_decoder(embedding, pe, sparse, dense, multimask_output=False)
            assert (model.decode(embedding, mask=mask)[0] - wanted).abs().max() < 1e-5


def test_a_fresh_head_changes_nothing_and_returns_to_row_0(sam, images):
    head = MaskHead(sam.mask_decoder)
    with torch.no_grad():
        plain, headed = Segmenter(sam)(as_batch(images)), Segmenter(sam, head)(as_batch(images))
    assert torch.equal(plain.masks, headed.masks)
    other = build_nano()
    head.write_back(other.mask_decoder)
    assert torch.equal(other.mask_decoder.mask_tokens.weight[0], head.token[0])


@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_of_several_classes_draws_one_mask_a_class(sam, images, classes):
    out = Segmenter(sam, MaskHead(sam.mask_decoder, classes))(as_batch(images))
    assert out.masks.shape == (3, classes, 128, 128)
    out.masks.mean().backward()


def test_gradient_reaches_the_encoder(sam, images):
    model = Segmenter(sam)
    model(as_batch(images)).masks.mean().backward()
    assert sam.image_encoder.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
    sam.zero_grad()


def test_another_image_size_is_refused_with_the_remedy(sam):
    with pytest.raises(UserError, match=r"\(1, 3, 64, 128\).*B 3 128 128.*to_batch"):
        Segmenter(sam)(torch.zeros(1, 3, 64, 128))


def test_the_automatic_mask_generator_runs_unchanged(sam, images):
    generator = SamAutomaticMaskGenerator(
        sam, points_per_side=4, pred_iou_thresh=-1e9, stability_score_thresh=-1.0
    )
    masks = generator.generate(images[0])
    assert masks and masks[0]["segmentation"].shape == (128, 128)
