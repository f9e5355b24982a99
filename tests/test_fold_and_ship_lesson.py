"""Lesson 11: its figures say what folds, its checks name what a fold must not forget."""

import copy

import numpy as np
import pytest
import torch

from naslora_workbook import figures as figures
from naslora_workbook.figures.shipping import spread
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_11 import fate, mysteries


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def folded_tap(W0, We, Wd, K, s):
    c, rest = K.shape[-1] // 2, K.clone()
    rest[..., c, c] = 0
    return W0 + s * Wd @ K[..., c, c] @ We, rest


def scale_forgotten(W0, We, Wd, K, s):
    return folded_tap(W0, We, Wd, K, 1)


def counted_twice(W0, We, Wd, K, s):
    return folded_tap(W0, We, Wd, K, s)[0], K


def in_place(W0, We, Wd, K, s):
    weight, _ = folded_tap(W0, We, Wd, K, s)
    K[..., K.shape[-1] // 2, K.shape[-1] // 2] = 0
    return weight, K


def the_corner(W0, We, Wd, K, s):
    rest = K.clone()
    rest[..., 1, 1] = 0  # right for 3 x 3 alone
    return W0 + s * Wd @ K[..., 1, 1] @ We, rest


@pytest.mark.parametrize("wrong", [scale_forgotten, counted_twice, in_place, the_corner])
def test_the_centre_tap_moves_once_with_its_scale_and_on_copies(wrong):
    assert checks.ex_11_1(folded_tap).state == checks.SOLVED
    assert checks.ex_11_1(wrong).state == checks.WRONG


def test_a_kernel_mended_in_place_is_named():
    assert "have moved" in checks.ex_11_1(in_place).sentence


def test_fates_are_those_that_the_layers_were_built_for():
    wanted = dict.fromkeys(("skip", "conv_1x1"), "everything")
    wanted |= dict.fromkeys(("conv_5x5", "one direction", "the other direction"), "a side branch")
    wanted |= dict.fromkeys(("relu", "tanh", "max pool", "median", "gate"), "nothing")
    x = torch.randn(2, 7, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert {name: fate(layer, x) for name, layer in mysteries(3).items()} == wanted


def by_doubling(layer, x):
    silent = layer(torch.zeros_like(x))
    linear = torch.allclose(layer(2 * x) + silent, 2 * layer(x), atol=1e-6)
    return by_a_poke(layer, x, 3) if linear else "nothing"


def by_a_factor(layer, x):
    silent = layer(torch.zeros_like(x))
    scales = torch.allclose(layer(-2 * x) - silent, -2 * (layer(x) - silent), atol=1e-6)
    return by_a_poke(layer, x, 3) if scales else "nothing"


def by_a_corner(layer, x):
    return "nothing" if fate(layer, x) == "nothing" else by_a_poke(layer, x, -1)


def by_the_other_corner(layer, x):
    return "nothing" if fate(layer, x) == "nothing" else by_a_poke(layer, x, 0)


def by_turning_the_sign(layer, x):
    silent = layer(torch.zeros_like(x))
    odd = torch.allclose(layer(-x) - silent, silent - layer(x), atol=1e-6)
    return by_a_poke(layer, x, 3) if odd else "nothing"


def by_a_poke(layer, x, at):
    poked = x.clone()
    poked[:, at, at] += 1
    moved = (layer(poked) - layer(x)).abs().amax((0, 3)) > 1e-6
    moved[at, at] = False
    return "a side branch" if moved.any() else "everything"


@pytest.mark.parametrize(
    "wrong", [by_doubling, by_a_factor, by_a_corner, by_the_other_corner, by_turning_the_sign]
)
def test_a_probe_by_factors_by_sign_or_in_a_corner_is_not_enough(wrong):
    assert checks.ex_11_2(fate).state == checks.SOLVED
    assert checks.ex_11_2(wrong).state == checks.WRONG


def hasty(layer, folded, x):
    return (layer(x) - folded(x)).abs().max()


def left_in_eval(layer, folded, x):
    return hasty(layer.eval(), folded, x)


def always_training(layer, folded, x):
    gap = left_in_eval(layer, folded, x)
    layer.train()
    return gap


def generous(layer, folded, x):
    layer = copy.deepcopy(layer).eval()
    gap = hasty(layer, folded, x)
    return gap if gap > 50 else 0.0


@pytest.mark.parametrize("wrong", [hasty, left_in_eval, always_training, generous])
def test_a_fold_is_compared_in_eval_and_given_back(wrong):
    def fair(layer, folded, x):
        was = layer.training
        gap = left_in_eval(layer, folded, x)
        layer.train(was)
        return gap

    assert checks.ex_11_3(fair).state == checks.SOLVED
    assert checks.ex_11_3(wrong).state == checks.WRONG


def test_leaving_it_in_eval_is_named():
    assert "not as it was found" in checks.ex_11_3(left_in_eval).sentence


def test_borders_count_the_tokens_that_are_wrong():
    ring = np.ones((8, 8))
    ring[1:-1, 1:-1] = 0
    alt = figures.borders({"one": np.zeros((8, 8)), "two": ring}).alt
    assert "Exact at every token: one (1 of 2)" in alt and "two wrong at 44% of tokens" in alt


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
    assert "base 1, folded 0" in alt
