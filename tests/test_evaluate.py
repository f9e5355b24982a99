"""Known masks get known scores at native size; the box-prompted base is SamPredictor."""

import weakref

import numpy as np
import pytest
import torch
from tiny import SIDE, squares, tiny_sam

from naslora_core.adapters import LoRA, NASLoRA, adapt
from naslora_core.data import Sample
from naslora_core.errors import UserError
from naslora_core.sam import SamPredictor, Segmenter, load_sam
from naslora_core.training import evaluation, predict, score_masks
from naslora_core.training.evaluation import METRICS, evaluate
from naslora_core.training.prediction import native_logits, predict_image
from naslora_core.training.prompts import box_of
from naslora_workbook.research import structure_metrics  # noqa: F401  (enters its metrics)


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


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


def test_all_classes_are_scored_where_none_are_named(sam):
    samples = squares(4, classes=2)
    first = [np.where(s.mask == 1, 1, 0) for s in samples]  # the second class is never drawn
    assert score_masks(first, samples).mean == score_masks(first, samples, classes=2).mean
    assert score_masks(first, samples).mean != score_masks(first, samples, classes=1).mean
    model = adapt(sam, LoRA(), classes=2)
    assert evaluate(model, samples).mean == evaluate(model, samples, classes=2).mean
    boxed = [evaluate(sam, samples, "box", classes=n).mean for n in (None, 2, 1)]
    assert boxed[0] == boxed[1] != boxed[2]
    with pytest.raises(UserError, match="classes up to 2, the model draws 1; give classes=2"):
        evaluate(Segmenter(sam), samples)
    assert len(evaluate(Segmenter(sam), samples, classes=1).dice) == 4


def test_classes_that_no_mask_of_the_set_holds_earn_nothing():
    """A list of 80 categories of which one occurs."""
    samples = squares(3)
    drawn = [np.full_like(samples[0].mask, 7), samples[1].mask, samples[2].mask]
    one, many = (score_masks(drawn, samples, n, ("ber", "mae")) for n in (1, 80))
    assert many.occurring == one.occurring == [1]
    assert many.dice.tolist() == [0, 1, 1] and many.mean == one.mean


def test_a_class_of_the_set_is_asked_for_in_every_image():
    a, b = (Sample(s.image, s.mask * (i + 1), s.name) for i, s in enumerate(squares(2)))
    nothing = [a.mask * 0, b.mask * 0]
    assert score_masks(nothing, [a, b], classes=3).dice.tolist() == [0.5, 0.5]


def test_where_no_class_occurs_all_are_asked_whether_they_are_rightly_absent():
    empty = [Sample(s.image, s.mask * 0, s.name) for s in squares(2)]
    drawn = [squares(1)[0].mask, empty[1].mask]
    scores = score_masks(drawn, empty, classes=2)
    assert scores.occurring == [] and scores.dice.tolist() == [0.5, 1.0]


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
    sample = squares(1, size=SIDE)[0]
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


def test_every_object_has_its_box_the_small_ones_too(sam, monkeypatch):
    mask = np.zeros((150, 150), np.uint8)
    mask[10:60, 10:60], mask[100:104, 100:104] = 1, 1  # 16 pixels: 0.07 % of the image
    boxes = []

    def predict(self, box, multimask_output):
        boxes.append(box.tolist())
        return mask[None] > 0, None, None

    monkeypatch.setattr(SamPredictor, "predict", predict)
    evaluate(sam, [Sample(np.zeros((150, 150, 3), np.uint8), mask, "two")], "box")
    assert boxes == [[10, 10, 59, 59], [100, 100, 103, 103]]


def test_padded_it_draws_what_sam_predictor_draws_on_a_long_image():
    """The whole way of SAM: longest side, padding, prompt, and back; rounding of pixels apart."""
    sam, one = load_sam(), squares(1, size=150)[0]
    long = Sample(one.image[:70], one.mask[:70], "long")
    box = box_of(long.mask > 0)
    predictor = SamPredictor(sam)
    predictor.set_image(long.image)
    wanted, _, _ = predictor.predict(box=box, multimask_output=False)
    model = adapt(sam, LoRA(), resize="pad")
    drawn = predict_image(model, long.image, box=box.tolist())
    assert wanted.any() and (drawn == wanted[0]).mean() > 0.999
    assert np.array_equal(
        drawn, predict_image(model, long.image, box=box)
    )  # an array, as box_of gives it
    squeezed = predict_image(adapt(sam, LoRA()), long.image, box=box.tolist())
    assert (squeezed == wanted[0]).mean() < (drawn == wanted[0]).mean()


@pytest.mark.parametrize("classes", [1, 2])
def test_asked_for_metrics_are_those_of_the_native_probabilities(sam, classes):
    samples, model = squares(2, size=90, classes=classes), adapt(sam, LoRA(), classes)
    scores = evaluate(model, samples, classes=classes, metrics=tuple(METRICS))
    assert scores.mean.keys() == METRICS.keys() and len(scores.dice) == 2
    for i, logits in enumerate(native_logits(model, samples)):
        p, truth = logits.softmax(0).numpy(), samples[i].mask
        for name in ("mae", "s_measure", "weighted_f", "e_measure"):
            each = [METRICS[name].score(p[c], truth == c) for c in range(1, classes + 1)]
            assert scores.more[name][i] == np.mean(each)
    plain = evaluate(model, samples, classes=classes)
    assert plain.mean.keys() == {"dice", "iou"} and np.array_equal(plain.dice, scores.dice)
    assert all(np.array_equal(a, b) for a, b in zip(plain.masks, scores.masks, strict=True))


def test_scores_without_masks_hold_one_batch_of_them(sam, monkeypatch):
    """As a validation scores them: a mask is gone before that of the batch after the next."""
    model, samples, alive, most = adapt(sam, LoRA()), squares(6), [], []
    drawn = evaluation.label_maps

    def watched(*given):
        for mask in drawn(*given):
            alive.append(weakref.ref(mask))
            most.append(sum(one() is not None for one in alive))
            yield mask

    monkeypatch.setattr(evaluation, "label_maps", watched)
    scores = evaluate(model, samples, batch=1, keep_masks=False)
    assert scores.masks == [] and len(scores.dice) == 6 and max(most) <= 2
    whole = evaluate(model, samples, batch=1)
    assert len(whole.masks) == 6 == max(most) and np.array_equal(whole.dice, scores.dice)


def test_a_prompted_sam_is_judged_by_its_masks(sam):
    samples = squares(2, size=150)
    scores = evaluate(sam, samples, "box", metrics=("mae", "ber"))
    wrong = [np.mean(m != s.mask) for m, s in zip(scores.masks, samples, strict=True)]
    assert scores.more["mae"] == pytest.approx(wrong) and 0 <= scores.mean["ber"] <= 1


def test_scores_over_all_pixels_stand_beside_those_of_images():
    samples = squares(2, classes=2)
    scores = score_masks([samples[0].mask, samples[1].mask * 0], samples, classes=2)
    assert scores.counts.sum() == 2 * 128 * 128 and scores.counts.shape == (3, 3)
    assert 0 < scores.overall["iou"] <= scores.overall["dice"] < 1
    both = [s.mask for s in samples]
    assert score_masks(both, samples, 2).overall == {"dice": 1.0, "iou": 1.0, "miou": 1.0}


def test_predicting_leaves_the_model_in_its_mode(sam):
    model = adapt(sam, LoRA()).train()
    predict(model, squares(1))
    assert model.training


def test_a_model_in_training_predicts_as_at_rest_and_keeps_its_batch_statistics(sam):
    model, (one,) = adapt(sam, NASLoRA(2, operators="darts", blocks=(1,))), squares(1)
    with torch.no_grad():
        model.sam.image_encoder.blocks[1].attn.qkv.Wd.normal_()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    rest = next(native_logits(model.eval(), [one])), predict_image(model, one.image, click=[64, 64])
    model.train()
    found = next(native_logits(model, [one])), predict_image(model, one.image, click=[64, 64])
    assert torch.equal(found[0], rest[0]) and np.array_equal(found[1], rest[1])
    assert model.training
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_an_unknown_metric_names_the_choices_before_anything_runs():
    with pytest.raises(UserError, match="'f1'; choose one of dice, iou, ber, mae, s_measure"):
        evaluate(None, squares(1), metrics=("f1",))
