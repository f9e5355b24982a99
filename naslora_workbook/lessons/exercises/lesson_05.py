"""Exercises of lesson 05: two thin matrices, LoRA's forward pass, a merged layer."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from naslora_core.sam import model_hash
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.drawn import normal

NARROW = "W0 and two narrow products"
PLAIN, UNCHANGED = "a plain Linear", "the base is unchanged"


def ex_5_1(answer):
    """Two thin matrices"""

    def case(rng):
        return normal(rng, rng.integers(6, 20), rng.integers(6, 12)), int(rng.integers(1, 5))

    def product(change, rank):
        return _of_factors(*answer(change, rank))

    def reference(change, rank):
        return _of_factors(*_thin(change, rank))

    return checks.check(
        "5.1",
        product,
        reference,
        case,
        hint="We is r x d_in, Wd is d_out x r; the singular values may go into either.",
        mistakes={
            "The two matrices are swapped: return We, the rows of v, first.": (
                lambda change, rank: _of_factors(*_thin(change, rank)[::-1])
            ),
            "The singular values are missing: multiply them into u or into v.": (
                lambda change, rank: _of_factors(*_thin(change, rank, values=False))
            ),
            "The change is not cut: keep `rank` columns of u and `rank` rows of v.": (
                lambda change, rank: _of_factors(*_thin(change, min(change.shape)))
            ),
        },
        proves="Any change cut to rank r is a LoRA; r (d_in + d_out) numbers hold it.",
    )


def _thin(change: Tensor, rank: int, values: bool = True) -> tuple[Tensor, Tensor]:
    """The first `rank` directions as We and Wd; values: with their singular values."""
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    return v[:rank], u[:, :rank] * (s[:rank] if values else 1)


def _of_factors(We: Tensor, Wd: Tensor) -> list:
    """Both shapes in words, and the product where there is one."""
    fits = We.shape[0] == Wd.shape[1]
    return [_shapes(We, Wd), Wd @ We if fits else None]


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
        mistakes={
            "The scale s is missing.": (
                lambda x, W0, b, We, Wd, s: [x @ W0.T + b + x @ We.T @ Wd.T, NARROW]
            ),
            "The bias b is missing.": (
                lambda x, W0, b, We, Wd, s: [x @ W0.T + s * (x @ We.T @ Wd.T), NARROW]
            ),
            "The scale multiplies the frozen part too; it belongs to the path alone.": (
                lambda x, W0, b, We, Wd, s: [s * (x @ W0.T + b + x @ We.T @ Wd.T), NARROW]
            ),
        },
        proves="It equals one dense matrix, W0 + s Wd We, on any shape, and never builds it.",
    )


def _products(x: Tensor, *matrices: Tensor) -> int:
    """Multiplications of every token of x with each of the matrices."""
    return x[..., 0].numel() * sum(m.numel() for m in matrices)


def ex_5_3(answer):
    """The merged layer that counts its path twice"""

    def case(rng):
        d, out, rank = int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.integers(1, 4))
        linear = nn.Linear(d, out).double().requires_grad_(False)
        linear.weight.copy_(normal(rng, out, d))
        linear.bias.copy_(normal(rng, out))
        We, Wd = normal(rng, rank, d), normal(rng, out, rank)
        return LowRank(linear, We, Wd, rng.uniform(1.5, 3)), normal(rng, 2, 3, 3, d)

    def reference(layer, x):
        return [layer(x), PLAIN, UNCHANGED]

    def twice(layer, x):
        return [2 * layer(x) - layer.base(x), PLAIN, UNCHANGED]

    def unscaled(layer, x):
        return [layer.base(x) + x @ layer.We.T @ layer.Wd.T, PLAIN, UNCHANGED]

    return checks.check(
        "5.3",
        lambda layer, x: _merged(answer, layer, x),
        reference,
        case,
        hint="Copy `layer.base` alone, add scale * Wd @ We to the copy's weight, and return it.",
        mistakes={
            "The path counts twice: it is in the weight, and it is computed beside it as well. "
            "Return a Linear without a path.": twice,
            "The scale is missing: add scale * Wd @ We.": unscaled,
        },
        proves="One Linear has the adapted layer's output, and the base is free for the next.",
    )


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
    if merged is None:
        return None
    y = merged(x)
    if not (y.shape == wanted.shape and torch.allclose(y, wanted)):
        return [y, PLAIN, UNCHANGED]
    plain = PLAIN if type(merged) is nn.Linear else f"a {type(merged).__name__}"
    same = model_hash(layer.base) == before
    return [y, plain, UNCHANGED if same else "the base's weight has changed: copy it first"]
