"""Lesson 11: its figures say what folds, its checks name what a fold must not forget."""

import numpy as np
import pytest
import torch

from naslora_workbook import figures
from naslora_workbook.figures.shipping import spread
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_11 import fate, mysteries


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


SPATIAL = (
    "conv_5x5",
    "zero over channels",
    "zero over places",
    "one direction",
    "the other direction",
)


def folded_tap(W0, We, Wd, K, s):
    c, rest = K.shape[-1] // 2, K.clone()
    rest[..., c, c] = 0
    return W0 + s * Wd @ K[..., c, c] @ We, rest


def test_the_centre_tap_moves_with_its_scale():
    assert checks.ex_11_1(folded_tap).state == checks.SOLVED


def test_fates_are_those_that_the_layers_were_built_for():
    wanted = dict.fromkeys(("skip", "conv_1x1"), "everything")
    wanted |= dict.fromkeys(SPATIAL, "a side branch")
    wanted |= dict.fromkeys(("relu", "tanh", "max pool", "median", "gate"), "nothing")
    x = torch.randn(2, 7, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert {name: fate(layer, x) for name, layer in mysteries(3).items()} == wanted


def fair(layer, folded, x):
    was = layer.training
    gap = (layer.eval()(x) - folded(x)).abs().max()
    layer.train(was)
    return gap


def test_the_references_pass_their_own_checks():
    assert checks.ex_11_2(fate).state == checks.SOLVED
    assert checks.ex_11_3(fair).state == checks.SOLVED


def test_borders_count_the_tokens_that_are_wrong():
    ring = np.ones((8, 8))
    ring[1:-1, 1:-1] = 0
    alt = figures.borders({"one": np.zeros((8, 8)), "two": ring}).alt
    assert "Exact at every token, of 2 folds: one" in alt and "two wrong at 44% of tokens" in alt


def test_the_clock_names_only_medians_that_its_control_cannot_explain():
    assert spread([3, 1, 2]) == (2, 1, 3)
    one = {"pointwise": (1.0, 0.9, 1.1), "5x5": (1.05, 1.04, 1.3)}
    other = {"pointwise": (1.0, 0.9, 1.02), "5x5": (1.05, 0.9, 1.3)}
    alt = figures.clock({"here": one, "there": other}).alt
    assert alt.startswith("Medians outside of the pointwise range: 5x5, there.")
    alt = figures.clock({"here": one}).alt
    assert alt.startswith("Medians outside of the pointwise range: none.")


def test_losses_beyond_the_tolerance_are_counted():
    named = {"projection": {"block 0": ("skip", 0.004)}, "argmax": {"block 0": ("none", 1.0)}}
    alt = figures.discretised(named, {"mixture": 0.5, "projection": 0.5, "argmax": 0.4}).alt
    assert "projection 0, argmax 1" in alt and "argmax 0.400" in alt


def test_automatic_masks_may_be_none():
    truth = np.zeros((8, 8))
    truth[:4] = 1
    record = {"segmentation": truth > 0, "area": 32, "predicted_iou": 0.5}
    image = np.zeros((8, 8, 3), np.uint8)
    alt = figures.unprompted(image, truth, {"base": [record], "folded": []}).alt
    assert "base 1.00, folded none" in alt
