"""Exercises of lesson 05: two thin matrices, LoRA's forward pass, and a base that must not move."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from naslora_core.sam import model_hash
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.drawn import normal

NARROW = "W0 and two narrow products"


def ex_5_1(answer):
    """Two thin matrices"""

    def case(rng):
        return normal(rng, rng.integers(6, 20), rng.integers(6, 12)), int(rng.integers(1, 5))

    def product(change, rank):
        We, Wd = answer(change, rank)
        return [_shapes(We, Wd), Wd @ We]

    def reference(change, rank):
        u, values, v = torch.linalg.svd(change, full_matrices=False)
        We, Wd = v[:rank], u[:, :rank] * values[:rank]
        return [_shapes(We, Wd), Wd @ We]

    return checks.check(
        "5.1",
        product,
        reference,
        case,
        hint="We is r x d_in, Wd is d_out x r; the singular values may go into either.",
        proves="Any change cut to rank r is a LoRA; r (d_in + d_out) numbers hold it.",
    )


def _shapes(We: Tensor, Wd: Tensor) -> str:
    return f"We {tuple(We.shape)}, Wd {tuple(Wd.shape)}"


def ex_5_2(answer):
    """LoRA's forward pass in one line"""

    def case(rng):
        b, h, w = (int(n) for n in rng.integers(1, 3, 3))  # few tokens: a dense product shows
        d, out, rank = int(rng.integers(32, 48)), int(rng.integers(32, 48)), int(rng.integers(1, 4))
        x, W0, bias = normal(rng, b, h, w, d), normal(rng, out, d), normal(rng, out)
        return x, W0, bias, normal(rng, rank, d), normal(rng, out, rank), rng.uniform(0.5, 2)

    def counted(x, W0, b, We, Wd, s):
        with FlopCounterMode(display=False) as counter:
            y = answer(x, W0, b, We, Wd, s)
        used = counter.get_total_flops() // 2 - _products(x, W0)
        narrow = _products(x, We, Wd)
        dense = f"{used:,} multiplications beside W0's, where two narrow products take {narrow:,}"
        return y if y is None else [y, NARROW if used <= narrow else dense]

    def reference(x, W0, b, We, Wd, s):
        return [x @ (W0 + s * Wd @ We).T + b, NARROW]

    return checks.check(
        "5.2",
        counted,
        reference,
        case,
        hint="We first, then Wd, then s, never Wd @ We; a matrix acts on the last axis as x @ W.T.",
        proves="It equals one dense matrix, W0 + s Wd We, on any shape, and never builds it.",
    )


def _products(x: Tensor, *matrices: Tensor) -> int:
    """Multiplications of every token of x with each of the matrices."""
    return x[..., 0].numel() * sum(m.numel() for m in matrices)


def ex_5_3(answer):
    """The base that moved"""

    def case(rng):
        d, out, rank = int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.integers(1, 4))
        linear = nn.Linear(d, out).double().requires_grad_(False)
        linear.weight.copy_(normal(rng, out, d))
        linear.bias.copy_(normal(rng, out))
        x = normal(rng, 2, 3, 3, d)
        return linear, normal(rng, rank, d), normal(rng, out, rank), rng.uniform(0.5, 2), x

    def reference(linear, We, Wd, scale, x):
        y = x @ (linear.weight + scale * Wd @ We).T + linear.bias
        return [y, y, "the base is as it was"]

    return checks.check(
        "5.3",
        lambda *arguments: _called_twice(answer, *arguments),
        reference,
        case,
        hint="It is called twice on one base, whose hash is taken before and after.",
        proves="Two calls agree and the base keeps every bit: it can carry the next adapter.",
    )


def _called_twice(answer, linear: nn.Module, *arguments) -> list:
    """Both results, and in words whether the base's hash has changed."""
    before = model_hash(linear)
    results = [answer(linear, *arguments), answer(linear, *arguments)]
    same = model_hash(linear) == before
    return [*results, "the base is as it was" if same else "the base has moved"]
