"""Known masks get known scores at native size; the box-prompted base is SamPredictor."""

import numpy as np
import pytest
import torch
from tiny import squares

from naslora_core.adapters import LoRA, adapt
from naslora_core.data import Sample
from naslora_core.sam import SamPredictor, Segmenter, build_nano
from naslora_core.training import evaluate, predict, score_masks
from naslora_core.training.prompts import box_of


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return build_nano().eval()


def test_perfect_empty_and_half_masks():
    samples = squares(3)
    truth = [s.mask for s in samples]
    assert score_masks(truth, samples).mean == {"dice": 1.0, "iou": 1.0}
    assert score_masks([t * 0 for t in truth], samples).mean == {"dice": 0.0, "iou": 0.0}
    empty = [Sample(s.image, s.mask * 0, s.name) for s in samples]
    assert score_masks([t * 0 for t in truth], empty).mean["dice"] == 1.0


def test_classes_are_scored_one_by_one():
    samples = squares(2, classes=2)
    swapped = [np.where(s.mask > 0, 3 - s.mask, 0) for s in samples]
    assert score_masks(swapped, samples, classes=2).mean["dice"] == 0.0
    empty = [s.mask * 0 for s in samples]  # one class missed, the other rightly absent
    assert score_masks(empty, samples, classes=2).mean["dice"] == 0.5


def test_the_median_image_is_the_median():
    scores = score_masks([s.mask for s in squares(5)], squares(5))
    object.__setattr__(scores, "dice", np.array([0.9, 0.1, 0.5, 0.7, 0.3]))
    assert scores.median_image == 2


def test_predictions_come_at_the_images_own_size(sam):
    samples = squares(2, size=150) + squares(1, size=90)
    for classes in (1, 3):
        masks = predict(adapt(sam, LoRA(), classes), samples)
        assert [m.shape for m in masks] == [(150, 150), (150, 150), (90, 90)]
        assert all(m.dtype == np.uint8 and m.max() <= classes for m in masks)


def test_prompt_free_prediction_is_the_segmenters_sign(sam):
    sample = squares(1)[0]
    with torch.no_grad():
        image = torch.tensor(sample.image).permute(2, 0, 1)[None].float()
        wanted = Segmenter(sam)(image).masks[0, 0] > 0
    assert np.array_equal(predict(Segmenter(sam), [sample])[0], wanted.numpy())


def test_the_boxed_base_equals_sam_predictor(sam):
    sample = squares(1, size=150)[0]
    predictor = SamPredictor(sam)
    predictor.set_image(sample.image)
    wanted, _, _ = predictor.predict(box=box_of(sample.mask > 0), multimask_output=False)
    assert np.array_equal(evaluate(sam, [sample], "box").masks[0], wanted[0])
