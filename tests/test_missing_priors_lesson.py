"""Lesson 04: its figures read known supports and intervals, its checks catch the bugs they hunt."""

import pytest
import torch
import torch.nn.functional as F

from naslora_workbook import figures as figures
from naslora_workbook.figures.space import Verdicts, interval, support
from naslora_workbook.lessons import checks


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def blur(x):
    return F.avg_pool2d(x.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)


def test_the_support_of_a_blur_is_nine_tokens_and_four_in_a_corner():
    x = torch.zeros(1, 6, 6, 2)
    assert int(support(blur, x, (2, 3)).sum()) == 9
    assert int(support(blur, x, (0, 0)).sum()) == 4
    assert (
        "blur 9, itself 1"
        in figures.supports({"blur": blur, "itself": torch.clone}, x, (2, 3), 3).alt
    )


@pytest.mark.parametrize(
    "last", [lambda y: torch.cat([y, -y], -1), torch.nn.LayerNorm(2)], ids=["minus itself", "norm"]
)
def test_output_channels_that_cancel_hide_no_token(last):
    x = torch.randn(1, 6, 6, 2, generator=torch.Generator().manual_seed(0))
    assert int(support(lambda x: last(blur(x)), x, (2, 3)).sum()) == 9
    assert not support(lambda x: last(blur(0 * x)), x, (2, 3)).any()


def test_an_interval_decides_a_claim():
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert mean == 2 and low == pytest.approx(2 - 4.302653 / 3**0.5) and high == 4 - low
    verdicts = Verdicts()
    for name, found, margin in (("a", (1, 0.5, 2), 0), ("b", (0, -1, 1), 0), ("c", (0, -1, 1), 2)):
        verdicts.measured(name, found, margin)
    assert [v for _, v in verdicts.values()] == ["stands", "undecided", "refuted"]
    assert verdicts._repr_html_().count("<tr>") == 4


def test_figures_say_what_they_show():
    lines = {"moves": [0.0, 0.5, 0.1], "stays": [0.0, 0.0, 0.0]}
    assert "moves: 0.50 across the border, at most 0.10" in figures.drift(lines, [1, 2, 3], [2]).alt
    drawn = figures.gains({"net": {"probe": {10: [0.1, 0.3], 30: [0.2, 0.2]}}})
    assert "net, probe: +0.200, +0.200" in drawn.alt


def twice(layer, x, order):
    return float((layer(x[:, order])[:, order] - layer(x)).abs().max())


def undone(layer, x, order):
    return float((layer(x[:, order])[:, torch.argsort(order)] - layer(x)).abs().max())


@pytest.mark.parametrize("answer, state", [(twice, checks.WRONG), (undone, checks.SOLVED)])
def test_a_permutation_applied_twice_is_found(answer, state):
    assert checks.ex_4_1(answer).state == state


def test_a_shuffle_test_that_acquits_everybody_is_found():
    assert checks.ex_4_1(lambda layer, x, order: 0.0).state == checks.WRONG


def test_an_operator_on_the_whole_map_is_not_one_inside_windows():
    verdict = checks.ex_4_2(lambda operator, x, window: operator(x))
    assert verdict.state == checks.WRONG and verdict.picture


def field(layer, x, at, absolute=True, weighed=True):
    x = x.detach().clone().requires_grad_()
    y = layer(x)[:, at[0], at[1]]
    (y * torch.randn(y.shape[-1]).to(y) if weighed else y).sum().backward()
    found = (x.grad.abs() if absolute else x.grad).sum((0, 3)).abs()
    return found > 1e-6 * found.max()


def test_cancelling_gradients_are_found_at_both_ends():
    assert checks.ex_4_3(field).state == checks.SOLVED
    assert checks.ex_4_3(lambda *a: field(*a, absolute=False)).state == checks.WRONG
    assert checks.ex_4_3(lambda *a: field(*a, weighed=False)).state == checks.WRONG
