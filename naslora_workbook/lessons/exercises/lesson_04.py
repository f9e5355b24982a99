"""Exercises of lesson 04: a shuffle undone, an operator inside windows, a receptive field."""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises import lesson_01
from naslora_workbook.lessons.exercises.cases import integers, normal


def _gap(layer, x, order, back) -> float:
    return float((layer(x[:, order])[:, back] - layer(x)).abs().max())


@exercise(
    "The shuffle test with false alarms",
    lambda layer, x, order: _gap(layer, x, order, order.argsort()),
    order_twice=lambda layer, x, order: _gap(layer, x, order, order),
    not_put_back=lambda layer, x, order: _gap(layer, x, order, slice(None)),
)
def ex_4_1(rng):
    n, c = integers(rng, (5, 12), (2, 6))
    alone = nn.Linear(c, 3).double().requires_grad_(False)
    alone.weight.copy_(normal(rng, 3, c))
    layer = alone if rng.random() < 0.5 else lambda x: x.cumsum(1)  # the second knows place
    return layer, normal(rng, 2, n, c), torch.from_numpy(rng.permutation(n))


def _windowed(operator, x, window, cut=lesson_01.windows_of, restore=lesson_01.map_of):
    return restore(operator(cut(x, window)), window, *x.shape[1:3])


def _there_and_back(function, x, window) -> list:
    there_and_back = function(lambda windows: windows, x.clone(), window)
    blurred = function(_blur, x.clone(), window)
    return [str(tuple(there_and_back.shape)), there_and_back[..., 0], blurred[..., 0]]


def _blur(windows: Tensor) -> Tensor:
    """A 3 x 3 mean of `N H W C`, zeros beyond the border: it tells where the windows are."""
    return F.avg_pool2d(windows.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)


@exercise(
    "Window partition round trip",
    _windowed,
    seen=_there_and_back,
    whole_map=lambda operator, x, window: operator(x),
    without_permute=partial(
        _windowed, cut=lesson_01.scrambled_cut, restore=lesson_01.scrambled_restore
    ),
    padding_kept=lambda operator, x, window: lesson_01.padded(x, window),
)
def ex_4_2(rng):
    return lesson_01.maps(rng), *integers(rng, (2, 8))


def _reached(layer, x: Tensor, at) -> Tensor:
    """Tokens whose change changes the output token, bool `H W`."""
    y = layer(x)[:, at[0], at[1]]
    reached = torch.zeros(x.shape[1:3], dtype=torch.bool)
    for place in torch.cartesian_prod(*map(torch.arange, x.shape[1:3])).tolist():
        other = x.clone()
        other[:, place[0], place[1], 0] += 1
        reached[tuple(place)] = not torch.equal(layer(other)[:, at[0], at[1]], y)
    return reached


def _field(layer, x: Tensor, at, absolute: bool = True, weighted: bool = True) -> Tensor:
    """Tokens with a gradient on one output token, bool `H W`, without a step that it needs."""
    x = x.clone().requires_grad_()
    y = layer(x)[:, at[0], at[1]]
    (y * torch.randn(y.shape[-1]).to(y) if weighted else y).sum().backward()
    return (x.grad.abs() if absolute else x.grad).sum((0, 3)) != 0


def _layer(kernel: Tensor, dilation: int):
    reach = dilation * (kernel.shape[-1] // 2)

    def layer(x: Tensor) -> Tensor:
        y = F.conv2d(x.permute(0, 3, 1, 2), kernel, padding=reach, dilation=dilation)
        return y.permute(0, 2, 3, 1)

    return layer


def _cancelling(rng, cancel: str) -> tuple:
    h, w = (int(n) for n in rng.integers(7, 12, 2))
    k, dilation = int(rng.choice([1, 3, 5])), int(rng.integers(1, 3))
    kernel = normal(rng, 2, 2, k, k)
    if cancel == "inputs":  # gradients of the two input channels add up to nothing
        kernel[:, 1] = -kernel[:, 0]
    else:  # a plain sum of the two output channels is zero
        kernel[1] = -kernel[0]
    at = int(rng.integers(h)), int(rng.integers(w))
    return _layer(kernel, dilation), normal(rng, 2, h, w, 2), at


@exercise(
    "The receptive field by gradient support",
    _reached,
    signed_sum=partial(_field, absolute=False),
    plain_sum=partial(_field, weighted=False),
)
def ex_4_3():
    rng = np.random.default_rng(0)
    return [_cancelling(rng, cancel) for cancel in ("inputs", "outputs") * 3]
