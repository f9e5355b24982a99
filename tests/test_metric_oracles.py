"""Every metric equals its outside oracle: torchmetrics live, py-sod-metrics as kept (or live).

The table of largest differences: python -m pytest -s tests/test_metric_oracles.py -k table
"""

import warnings

import metric_oracles as oracles
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.functional import classification as tm

from naslora_core.training.metrics import (
    ber,
    confusion,
    dice,
    global_dice,
    global_iou,
    iou,
    mae,
    mean_iou,
)

CASES = oracles.cases()
TOLERANCE = 1e-12  # torchmetrics, which counts in float32: 1e-6
shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def masks(shape):
    return arrays(bool, shape)


def soft(shape):
    return arrays(np.float64, shape, elements=st.floats(0, 1))


def drawn(prediction, count=1):
    """Two arrays of one shape: what a strategy of shapes draws, and the truth."""
    return shapes.flatmap(lambda s: st.tuples(prediction(s), masks(s)))


def label_maps(classes=3, images=3):
    shape = shapes.map(lambda s: (2, images, *s))
    return shape.flatmap(lambda s: arrays(np.uint8, s, elements=st.integers(0, classes)))


def tensor(mask):
    return torch.from_numpy(np.ascontiguousarray(mask)).int()


def torch_overlap(prediction, truth) -> dict[str, float]:
    """torchmetrics' IoU, Dice and BER; by definition ours where a side is missing."""
    p, t = tensor(prediction), tensor(truth)
    rates = [tm.binary_recall(p, t), tm.binary_specificity(p, t)]
    there = [r for r, side in zip(rates, (truth, ~truth), strict=True) if side.any()]
    return {
        "iou": float(tm.binary_jaccard_index(p, t)) if (prediction | truth).any() else 1.0,
        "dice": float(tm.binary_f1_score(p, t)) if (prediction | truth).any() else 1.0,
        "ber": 1 - float(torch.stack(there).mean()),
    }


@settings(max_examples=100, deadline=None)
@given(drawn(masks))
def test_overlap_of_masks_is_torchmetrics(pair):
    for name, value in torch_overlap(*pair).items():
        assert {"iou": iou, "dice": dice, "ber": ber}[name](*pair) == pytest.approx(value, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(label_maps())
def test_overlap_of_a_set_is_torchmetrics(both):
    prediction, truth = both
    counts = sum(confusion(p, t, 3) for p, t in zip(prediction, truth, strict=True))
    p, t = tensor(prediction), tensor(truth)
    assert np.array_equal(counts, tm.multiclass_confusion_matrix(p, t, 4).numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = tm.multiclass_jaccard_index(p, t, 4, average="none").numpy()
        both = tm.multiclass_f1_score(p, t, 4, average="none").numpy()
        mean = float(tm.multiclass_jaccard_index(p, t, 4))
    np.testing.assert_allclose(np.nan_to_num(global_iou(counts)), each, atol=1e-6)
    np.testing.assert_allclose(np.nan_to_num(global_dice(counts)), both, atol=1e-6)
    assert mean_iou(counts) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("name", oracles.OURS)
def test_every_case_is_what_py_sod_metrics_said(name):
    kept = oracles.kept()["answers"]
    assert kept.keys() == CASES.keys()
    for case, pair in CASES.items():
        ours, theirs = oracles.OURS[name](*pair), oracles.outside(name, kept[case][name], *pair)
        assert (
            ours == pytest.approx(theirs, abs=TOLERANCE) if theirs is not None else 0 <= ours <= 1
        )


@pytest.mark.skipif(not oracles.importable(), reason="py-sod-metrics is not on the path")
@settings(max_examples=300, deadline=None)
@given(drawn(soft) | drawn(lambda s: masks(s).map(lambda m: m.astype(float))))
def test_any_case_is_what_py_sod_metrics_says(pair):
    said = oracles.answers(oracles.load(), *pair)
    for name, metric in oracles.OURS.items():
        theirs = oracles.outside(name, said[name], *pair)
        assert theirs is None or metric(*pair) == pytest.approx(theirs, abs=1e-9), name


@settings(max_examples=100, deadline=None)
@given(drawn(soft))
def test_soft_metrics_are_finite_and_bounded(pair):
    values = {name: metric(*pair) for name, metric in oracles.OURS.items()}
    most = pair[1].size / max(1, pair[1].size - 1)  # how the E-measure counts
    assert all(-1e-12 <= v <= (most if n == "e_measure" else 1) + 1e-12 for n, v in values.items())


@settings(max_examples=50, deadline=None)
@given(shapes.flatmap(masks))
def test_a_perfect_mask_scores_best(truth):
    sure = truth.astype(float)
    assert iou(truth, truth) == dice(truth, truth) == 1 and ber(truth, truth) == 0
    assert mae(sure, truth) == 0
    assert oracles.OURS["s_measure"](sure, truth) == pytest.approx(1)
    assert oracles.OURS["weighted_f"](sure, truth) == pytest.approx(1)


def test_empty_masks_are_as_the_docstrings_say():
    empty, some = np.zeros((8, 8), bool), np.eye(8, dtype=bool)
    none, half = np.zeros((8, 8)), np.full((8, 8), 0.5)
    ours = {**oracles.OURS, "iou": iou, "dice": dice, "ber": ber}
    assert {n: ours[n](empty, empty) for n in ("iou", "dice", "ber")} == dict(iou=1, dice=1, ber=0)
    assert {n: ours[n](some, empty) for n in ("iou", "dice", "ber")} == dict(
        iou=0, dice=0, ber=1 / 8
    )
    assert ours["mae"](half, empty) == ours["s_measure"](half, empty) == 0.5
    assert ours["weighted_f"](none, empty) == 1 and ours["weighted_f"](half, empty) == 0
    assert ours["e_measure"](none, empty) == pytest.approx(255 / 256 * 64 / 63)
    nothing = confusion(empty, empty, 1)
    assert np.isnan(global_iou(nothing)[1]) and mean_iou(nothing) == 1
    assert mean_iou(nothing, background=False) == 1


def test_per_image_and_global_iou_can_disagree():
    """A large object found and a small one missed: 1/2 an image, nearly 1 over the pixels."""
    big, small = np.ones((20, 20), bool), np.zeros((20, 20), bool)
    small[3, 3] = True
    pairs = [(big, big), (small & False, small)]
    assert np.mean([iou(*pair) for pair in pairs]) == 0.5
    counts = sum(confusion(p, t, 1) for p, t in pairs)
    assert global_iou(counts)[1] == pytest.approx(400 / 401)


def test_labels_above_the_classes_are_background():
    truth, prediction = np.array([[0, 1, 2, 3]]), np.array([[1, 1, 1, 2]])
    assert confusion(prediction, truth, 1).tolist() == [[1, 2], [0, 1]]


def table() -> dict[str, tuple[float, int, str]]:
    """Largest difference to the oracle, number of images, and the oracle: a row a metric."""
    kept = oracles.kept()
    theirs, rows = f"py-sod-metrics {kept['versions']['pysodmetrics']}", {}
    for name, metric in oracles.OURS.items():
        pairs = [
            (metric(*pair), oracles.outside(name, kept["answers"][case][name], *pair))
            for case, pair in CASES.items()
        ]
        apart = [abs(a - b) for a, b in pairs if b is not None]
        rows[name] = (max(apart), len(apart), theirs)
    hard = [(p >= 0.5, t) for p, t in CASES.values()]
    said = [torch_overlap(*pair) for pair in hard]
    for name, metric in {"iou": iou, "dice": dice, "ber": ber}.items():
        apart = [abs(metric(*pair) - s[name]) for pair, s in zip(hard, said, strict=True)]
        rows[name] = (max(apart), len(apart), "torchmetrics")
    alike = [(p, t) for p, t in hard if t.shape == (40, 33)]
    stacks = [tensor(np.stack(side)) for side in zip(*alike, strict=True)]
    together = tm.multiclass_jaccard_index(*stacks, 2)
    counts = sum(confusion(*pair, 1) for pair in alike)
    rows["mean_iou"] = (abs(mean_iou(counts) - float(together)), len(alike), "torchmetrics")
    return rows


def test_table():
    """Print it; no difference is larger than its oracle's own rounding."""
    print("\n" + "".join(f"{c:>22}" for c in ("metric", "largest difference", "images", "oracle")))
    for name, (apart, count, oracle) in table().items():
        print(f"{name:>22}{apart:>22.1e}{count:>22}{oracle:>22}")
        assert apart < (1e-6 if oracle == "torchmetrics" else TOLERANCE)
