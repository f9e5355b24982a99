"""Lesson 03: its figures say what was measured, its checks catch the bugs that they hunt."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from naslora_core.training.losses import structure
from naslora_workbook import figures as figures
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_03 import two_intervals
from naslora_workbook.research.token_head import token_head_dice


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def opposed():
    large, small = np.ones((10, 10), bool), np.zeros((10, 10), bool)
    small[4, 4] = True
    half = large.copy()
    half[:4] = False
    return [large, small], [half, small], [large, small & False]


def test_two_rankings_must_be_opposite():
    truths, a, b = opposed()
    assert checks.ex_3_1(opposed).state == checks.SOLVED
    swapped = checks.ex_3_1(lambda: (truths, b, a))
    assert swapped.state == checks.WRONG
    assert "'b is ahead in the mean over images'" in swapped.sentence
    assert "'a tie in the mean over images'" in checks.ex_3_1(lambda: (truths, a, a)).sentence
    assert "three lists" in checks.ex_3_1(lambda: None).sentence
    assert "same shapes" in checks.ex_3_1(lambda: (truths, a, b[:1])).sentence


def test_the_paired_interval_uses_the_same_draw_for_both():
    assert checks.ex_3_3(two_intervals).state == checks.SOLVED
    swapped = checks.ex_3_3(lambda *given: two_intervals(*given)[::-1])
    assert swapped.state == checks.WRONG


def weighted(logits, truth, weight, reduction="none"):
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction=reduction)
    return ((weight * cross).sum((2, 3)) / weight.sum((2, 3))).mean()


def test_a_loss_without_its_weights_is_found_and_drawn():
    assert checks.ex_3_2(weighted).state == checks.SOLVED
    shipped = checks.ex_3_2(lambda *a: weighted(*a, reduction="mean"))
    assert shipped.state == checks.WRONG and shipped.picture
    assert checks.ex_3_2(lambda *a: weighted(*a).detach()).state == checks.WRONG
    assert "scalar tensor" in checks.ex_3_2(lambda *a: weighted(*a).item()).sentence


def test_figures_say_what_was_measured():
    truth = np.eye(4, dtype=bool)
    said = {"whole": "IoU 0.25", "none": "IoU 0.00"}
    drawn = figures.pixels(truth, {"whole": truth | True, "none": truth & False}, said).alt
    assert drawn.startswith("The truth has 4 of 16 pixels: whole overlaps best, none worst. whole")
    ends = figures.weighing(
        np.zeros((4, 4, 3)), truth, {"a": np.ones((4, 4)), "b": 1.0 + truth}
    ).alt
    assert ends.endswith("a 1.00 everywhere; b 1.00 to 2.00.")
    history = [{"step": i, "loss": 1.0, "val": v} for i, v in enumerate((0.5, 0.4, 0.6), 1)]
    history = [{"step": 0, "val": 0.7}, *history, {"step": 4, "loss": 0.5}]
    assert "lowest after step 2 of 4 (0.40)" in figures.watched(history).alt


def test_paired_gains_name_the_rival_and_tell_a_tie_from_not_knowing():
    ends = {("lora", "decoder_only"): (0.1, 0.3), ("a", "lora"): (-0.1, 0.1)}
    said = figures.paired_gains({pair: np.zeros(3) for pair in ends}, ends, 0.02, "Recorded").alt
    clear = "Intervals that exclude zero: LoRA minus decoder-only"
    assert said.startswith(f"{clear}. LoRA minus decoder-only +0.100 to +0.300; a minus LoRA -0.1")
    ends["a", "lora"] = (-0.01, 0.01)
    said = figures.paired_gains({pair: np.zeros(3) for pair in ends}, ends, 0.02, "").alt
    assert said.startswith(f"{clear}; a tie, inside ±0.02: a minus LoRA. ")


def test_a_wheel_counts_the_draws_against_the_order():
    _, axes = figures.canvas()
    spins = np.array([0.1, 0.2, -0.1, 0.3])
    assert figures.roulette(axes[0, 0], spins, 0.1, 0.5) == "25% reversed"


def test_the_token_head_learns_what_tokens_know_and_repeats_itself():
    g = torch.Generator().manual_seed(0)
    labels = torch.zeros(12, 32, 32, dtype=torch.uint8)
    labels[:, 8:24, 8:24] = 1
    tokens = labels[:, None, 4::8, 4::8].float()
    data = tokens + 0.01 * torch.randn(12, 4, 4, 4, generator=g), labels
    first = token_head_dice(structure, data, data, seed=1)
    assert first > 0.7 and first == token_head_dice(structure, data, data, seed=1)
