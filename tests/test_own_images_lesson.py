"""Lesson 13: its figures judge pixels and runs rightly, its checks catch the bugs they hunt."""

import re

import numpy as np
import pytest

from naslora_core.data import Sample
from naslora_workbook import figures
from naslora_workbook.figures.own import wrong_pixels
from naslora_workbook.lessons import checks


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def test_every_pixel_has_one_kind():
    truth, mask = np.array([[0, 1, 1, 0, 2]]), np.array([[0, 1, 0, 2, 1]])
    assert wrong_pixels(truth, mask).tolist() == [[0, 1, 2, 3, 4]]


def test_the_worst_images_say_what_is_to_blame():
    truth = np.zeros((8, 10), np.uint8)
    truth[2:4, 2:7] = 1
    picture = np.zeros((8, 10, 3), np.uint8)
    missed, other = np.zeros_like(truth), 2 * truth
    samples = [Sample(picture, truth, name) for name in "ab"]
    alt = figures.blame(samples, [missed, other], [0.0, 0.0]).alt
    assert "of the 2 lowest: 50% missed, 0% drawn on background, 50% another class" in alt
    assert "0% missed, 0% drawn on background" in figures.blame(samples, [truth, truth], [1, 1]).alt


def watched(*dices):
    return [
        {"step": i, "loss": 1 / i, **({"val_dice": dices[i // 2 - 1]} if i % 2 == 0 else {})}
        for i in range(1, 2 * len(dices) + 1)
    ]


def test_the_best_looks_are_compared_and_a_tie_is_told():
    runs = {"decoder_only": watched(0.2, 0.3), "nas_lora": watched(0.1, 0.5)}
    assert figures.learning(runs).alt == "Best validation Dice: decoder-only 0.30, NAS-LoRA 0.50."
    runs["nas_lora"] = watched(0.304)
    assert "less than 0.01" in figures.learning(runs).alt


def test_runs_that_look_better_than_the_healthy_one_are_counted():
    losses = {"healthy": [2, 1.5, 1.2, 1.1, 1.2, 1.1, 1.2]}
    losses["high"], losses["easy"] = [2, 3, 2.5, 2.5, 2.6, 2.5, 2.6], [2, 0.5, *[0.1, 0.2] * 3]
    losses["jittering"] = [3, 3, 1.0, 1.3, 1.0, 1.3, 1.0]
    alt = figures.symptoms(losses, dict.fromkeys(losses, "Dice 0.1\nhalf")).alt
    assert alt.startswith("1 of 3 faulty runs end with a lower loss: easy.")
    assert "easy: Dice 0.1, half" in alt


def numbered(mask, colours):
    numbers = np.full(mask.shape[:2], -1)
    for number, colour in enumerate(colours):
        numbers[(mask == np.array(colour)).all(-1)] = number
    if (numbers < 0).any():
        raise ValueError("there are colours that are not listed")
    return numbers


def test_colours_are_numbered_and_unknown_ones_refused():
    assert checks.ex_13_1(numbered).state == checks.SOLVED


def patients(names, pattern):
    return {re.search(pattern, n)[1] for n in names}


def torn(splits, pattern):
    a, b, c = (patients(names, pattern) for names in splits.values())
    return a & b | a & c | b & c


def test_patients_in_any_two_splits_are_found():
    assert checks.ex_13_2(torn).state == checks.SOLVED
    assert checks.ex_13_2(lambda s, p: sorted(torn(s, p))).state == checks.SOLVED


def place(mask, size):
    y, x = np.argwhere(mask).mean(0)
    height, width = mask.shape
    return np.array([x * size / width, y * size / height])


def test_the_click_lands_where_it_should():
    assert checks.ex_13_3(place).state == checks.SOLVED
