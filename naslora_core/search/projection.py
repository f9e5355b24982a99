"""Read a trained cell: argmax alpha, and the projection onto operator classes.

The linear operators are nested (a 5 x 5 contains every other one) and scale moves freely between
alpha and the kernels, so alpha alone does not identify an operator. Projection asks instead: which
is the cheapest class of kernels that explains the learned kernel K on the data,
    min over K' in S_o of  E|(K - K') * z|^2 / E|K * z|^2  <=  1 % ?
Of a cell alone, S_o is every kernel that operator o can be. Between We and Wd the basis of z means
nothing, so there S_o also holds what becomes that operator when We and Wd change it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_core.search import operator_classes
from naslora_core.search.cell import Cell
from naslora_core.search.operator_classes import Member
from naslora_core.search.operator_registry import Operator, padded

TOLERANCE = 0.01


@dataclass(frozen=True)
class Choice:
    """Both readings of one cell; residual: share of the energy each class leaves unexplained;
    members: of each class the nearest member, where We and Wd were free; off_centre: share of the
    energy that no per-token map explains, None where there is no kernel to read."""

    argmax: str
    projection: str | None
    residual: dict[str, float]
    members: dict[str, Member] = field(default_factory=dict, repr=False)
    off_centre: float | None = None


def argmax(cell: Cell) -> str:
    """The operator of the largest alpha: DARTS' reading."""
    return cell.names[int(cell.arch_alpha.argmax())]


def patch_covariance(z: Tensor, side: int) -> Tensor:
    """E[p p^T] `rkk rkk` of the zero-padded `side x side` patches p of z `B r H W`, float64."""
    patches = F.unfold(z.double(), side, padding=side // 2).transpose(1, 2).flatten(0, 1)
    return patches.T @ patches / len(patches)


def project(
    cell: Cell, z: Tensor, tolerance: float = TOLERANCE, decoder: Tensor | None = None
) -> Choice:
    """Both readings of `cell` on its own input z `B r H W`; projection None if no class fits.

    Projection reads the mixed kernel, so it says nothing of operators that have none, and never
    names one whose class of kernels is unknown (learnable, and neither Dense nor Separable).
    """
    return Choice(argmax(cell), *explain(cell.kernel(), cell.operators, z, tolerance, decoder))


@torch.no_grad()
def explain(
    kernel: Tensor,
    operators: Iterable[Operator],
    z: Tensor,
    tolerance: float = TOLERANCE,
    decoder: Tensor | None = None,
) -> tuple[str | None, dict[str, float], dict[str, Member], float]:
    """The cheapest class that explains a kernel `r r k k` on z `B r H W`, what each class leaves,
    the nearest member of each (empty without a decoder), and the share off the centre.

    decoder: the Wd `d r` behind it; then energy is counted after it, and We and Wd are free.
    """
    classes = {op.name: op for op in operators if operator_classes.has_class(op)}
    side = max([kernel.shape[-1], *(op.side for op in classes.values())])
    W, covariance = padded(kernel.double(), side).flatten(1), patch_covariance(z, side)
    members = {}
    if decoder is None:
        nearest = operator_classes.nearest_kernel
        best = {n: nearest(op, W, covariance, side) for n, op in classes.items()}
    else:
        Q, R = torch.linalg.qr(decoder.double())
        W = R @ W  # r rkk: the energy that it has behind Wd
        nearest = operator_classes.nearest_member
        found = {n: nearest(op, W, covariance, side) for n, op in classes.items()}
        best = {n: m.flat(side) for n, m in found.items()}
        members = {n: replace(m, out=Q @ m.out) for n, m in found.items()}
    residual = {n: _share(W - kernel, W, covariance) for n, kernel in best.items()}
    fitting = [n for n in classes if residual[n] <= tolerance]
    cheapest = min(fitting, key=lambda n: cost(classes[n]), default=None)
    centre = torch.arange(W.shape[1]) % side**2 == side**2 // 2
    pointwise = operator_classes.supported(centre, W, covariance)
    return cheapest, residual, members, _share(W - pointwise, W, covariance)


def cost(op: Operator) -> tuple[int, int, str]:
    """The order of classes: multiply-adds, then parameters (then name, so that ties are stable)."""
    return op.macs(), sum(p.numel() for p in op.parameters()), op.name


def _share(left: Tensor, W: Tensor, covariance: Tensor) -> float:
    """E|left p|^2 / E|W p|^2; 0 where there is no energy to explain."""
    energy = ((W @ covariance) * W).sum()
    return float(((left @ covariance) * left).sum() / energy) if energy > 0 else 0.0
