"""Exercises of lesson 05: two thin matrices, LoRA's forward pass, a merged layer."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from naslora_core.sam import model_hash
from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import integers, normal

PLAIN, UNCHANGED = "a plain Linear", "the base is unchanged"


def _thin(change: Tensor, rank: int, values: bool = True) -> tuple[Tensor, Tensor]:
    """The first `rank` directions as We and Wd; values: with their singular values."""
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    return v[:rank], u[:, :rank] * (s[:rank] if values else 1)


def _of_factors(factors, change: Tensor, rank: int) -> list:
    """Both shapes in words, and the product where there is one."""
    We, Wd = factors(change, rank)
    shapes = f"We {tuple(We.shape)}, Wd {tuple(Wd.shape)}"
    return [shapes, Wd @ We if We.shape[0] == Wd.shape[1] else None]


@exercise(
    "Two thin matrices",
    _thin,
    seen=_of_factors,
    swapped=lambda change, rank: _thin(change, rank)[::-1],
    without_values=lambda change, rank: _thin(change, rank, values=False),
    uncut=lambda change, rank: _thin(change, min(change.shape)),
)
def ex_5_1(rng):
    return normal(rng, rng.integers(6, 20), rng.integers(6, 12)), int(rng.integers(1, 5))


def _output_and_cost(forward, x, W0, b, We, Wd, s) -> list:
    with FlopCounterMode(display=False) as counter:
        y = forward(x, W0, b, We, Wd, s)
    used = counter.get_total_flops() // 2 - _products(x, W0)
    narrow = _products(x, We, Wd)
    dense = f"{used:,} multiplications beside W0's, where two narrow products take {narrow:,}"
    return [y, "W0 and two narrow products" if used <= narrow else dense]


def _products(x: Tensor, *matrices: Tensor) -> int:
    """Multiplications of every token of x with each of the matrices."""
    return x[..., 0].numel() * sum(m.numel() for m in matrices)


@exercise(
    "LoRA's forward pass in one line",
    lambda x, W0, b, We, Wd, s: x @ W0.T + b + s * (x @ We.T @ Wd.T),
    seen=_output_and_cost,
    without_scale=lambda x, W0, b, We, Wd, s: x @ W0.T + b + x @ We.T @ Wd.T,
    without_bias=lambda x, W0, b, We, Wd, s: x @ W0.T + s * (x @ We.T @ Wd.T),
    all_scaled=lambda x, W0, b, We, Wd, s: s * (x @ W0.T + b + x @ We.T @ Wd.T),
)
def ex_5_2(rng):
    b, h, w = (int(n) for n in rng.integers(1, 3, 3))  # few tokens: a dense product shows
    d, out, rank = integers(rng, (32, 48), (32, 48), (1, 4))
    x, W0, bias = normal(rng, b, h, w, d), normal(rng, out, d), normal(rng, out)
    return x, W0, bias, normal(rng, rank, d), normal(rng, out, rank), rng.uniform(0.5, 2)


def random_linear(rng: np.random.Generator, d: int, out: int) -> nn.Linear:
    """A Linear of standard normal numbers in float64."""
    linear = nn.Linear(d, out).double().requires_grad_(False)
    linear.weight.copy_(normal(rng, out, d))
    linear.bias.copy_(normal(rng, out))
    return linear


class LowRank(nn.Module):
    """The lesson's layer: a frozen Linear and a low-rank path beside it."""

    def __init__(self, base: nn.Linear, We: Tensor, Wd: Tensor, scale: float):
        super().__init__()
        self.base, self.scale = base, scale
        self.We, self.Wd = nn.Parameter(We, False), nn.Parameter(Wd, False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scale * (x @ self.We.T @ self.Wd.T)


def _merged(merge, layer: LowRank, x: Tensor) -> list:
    """The merged layer's output, and in words what it is and what became of the base.

    A wrong output is reported first, so then the words are the expected ones.
    """
    before, wanted = model_hash(layer.base), layer(x)
    merged = merge(layer)
    y = merged(x)
    if not (y.shape == wanted.shape and torch.allclose(y, wanted)):
        return [y, PLAIN, UNCHANGED]
    plain = PLAIN if type(merged) is nn.Linear else f"a {type(merged).__name__}"
    same = model_hash(layer.base) == before
    return [y, plain, UNCHANGED if same else "the base's weight has changed: copy it first"]


def _merge(layer: LowRank, scale: float) -> nn.Linear:
    linear = copy.deepcopy(layer.base)
    linear.weight += scale * layer.Wd @ layer.We
    return linear


@exercise(
    "The merged layer that counts its path twice",
    lambda layer: _merge(layer, layer.scale),
    seen=_merged,
    path_twice=lambda layer: _merge(layer, 2 * layer.scale),
    without_scale=lambda layer: _merge(layer, 1),
)
def ex_5_3(rng):
    d, out, rank = integers(rng, (3, 9), (3, 9), (1, 4))
    linear = random_linear(rng, d, out)
    We, Wd = normal(rng, rank, d), normal(rng, out, rank)
    return LowRank(linear, We, Wd, rng.uniform(1.5, 3)), normal(rng, 2, 3, 3, d)
