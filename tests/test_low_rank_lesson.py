"""Lesson 05: its figures read a known rank, its checks catch the bug that they hunt."""

import copy

import pytest
import torch

from naslora_workbook import figures as figures
from naslora_workbook.lessons import checks


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def of_rank(rank: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randn(30, rank, generator=g) @ torch.randn(rank, 20, generator=g)


def test_a_change_of_rank_four_is_held_by_four_directions():
    assert "4 of 20 directions hold 100% of the change" in figures.spectrum([of_rank(4)]).alt
    _, axes = figures.canvas()
    assert figures.cut(axes[0, 0], of_rank(2), 2) == "rank 2: 100%"


def test_the_dice_that_survives_is_in_the_title():
    assert (
        figures.surviving({0: 0.1, 1: 0.3}, 0.4).alt
        == "The change cut to rank 1 gives Dice 0.30 (rank 0: 0.10, uncut: 0.40)."
    )


def merged(layer):
    linear = copy.deepcopy(layer.base)
    linear.weight += layer.scale * layer.Wd @ layer.We
    return linear


def merged_in_place(layer):
    layer.base.weight += layer.scale * layer.Wd @ layer.We
    return layer.base


def test_a_merged_layer_is_a_linear_of_its_own():
    assert checks.ex_5_3(merged).state == checks.SOLVED
    assert "copy it first" in checks.ex_5_3(merged_in_place).sentence


def test_thin_matrices_are_told_apart_and_the_forward_pass_needs_its_scale():
    def swapped(change, rank):
        u, s, v = torch.linalg.svd(change, full_matrices=False)
        return u[:, :rank] * s[:rank], v[:rank]

    assert checks.ex_5_1(swapped).state == checks.WRONG
    assert checks.ex_5_1(lambda c, r: swapped(c, r)[::-1]).state == checks.SOLVED
    forgotten = checks.ex_5_2(lambda x, W0, b, We, Wd, s: x @ W0.T + b + x @ We.T @ Wd.T)
    assert forgotten.state == checks.WRONG
    right = checks.ex_5_2(lambda x, W0, b, We, Wd, s: x @ W0.T + b + s * (x @ We.T @ Wd.T))
    assert right.state == checks.SOLVED


@pytest.mark.parametrize(
    "dense",
    [
        lambda x, W0, b, We, Wd, s: x @ (W0 + s * Wd @ We).T + b,
        lambda x, W0, b, We, Wd, s: torch.nn.functional.linear(x, W0, b) + s * (x @ (Wd @ We).T),
    ],
)
def test_a_product_as_large_as_the_layer_is_refused(dense):
    verdict = checks.ex_5_2(dense)
    assert verdict.state == checks.WRONG and "never Wd @ We" in verdict.sentence
    assert "multiplications beside W0's" in verdict.sentence


def test_a_forward_pass_may_be_written_with_any_function():
    linear, einsum = torch.nn.functional.linear, torch.einsum
    verdicts = [
        checks.ex_5_2(lambda x, W0, b, We, Wd, s: linear(x, W0, b) + s * linear(linear(x, We), Wd)),
        checks.ex_5_2(
            lambda x, W0, b, We, Wd, s: (
                einsum("bhwd,od->bhwo", x, W0)
                + b
                + einsum("bhwr,or->bhwo", einsum("bhwd,rd->bhwr", s * x, We), Wd)
            )
        ),
    ]
    assert [v.state for v in verdicts] == [checks.SOLVED] * 2
    assert "returned None" in checks.ex_5_2(lambda *a: None).sentence
