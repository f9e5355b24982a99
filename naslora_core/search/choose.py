"""Read a trained cell: argmax alpha, and the projection onto operator classes.

The linear operators are nested (a 5 x 5 contains every other one) and scale moves freely between
alpha and the kernels, so alpha alone does not identify an operator. Projection asks instead: which
is the cheapest class of kernels that explains the learned kernel K on the data,
    min over K' in S_o of  E|(K - K') * z|^2 / E|K * z|^2  <=  1 % ?
S_o is every kernel that operator o can be, a fixed kernel up to scale.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_core.search.cell import Cell
from naslora_core.search.operators import Dense, Fixed, Operator, Separable

TOLERANCE = 0.01


@dataclass(frozen=True)
class Choice:
    """Both readings of one cell; residual: share of the energy each class leaves unexplained."""

    argmax: str
    projection: str | None
    residual: dict[str, float]


def argmax(cell: Cell) -> str:
    """The operator of the largest alpha: DARTS' reading."""
    return cell.names[int(cell.arch_alpha.argmax())]


def patch_covariance(z: Tensor, side: int) -> Tensor:
    """E[p p^T] `rkk rkk` of the zero-padded `side x side` patches p of z `B r H W`, float64."""
    patches = F.unfold(z.double(), side, padding=side // 2).transpose(1, 2).flatten(0, 1)
    return patches.T @ patches / len(patches)


def project(cell: Cell, z: Tensor, tolerance: float = TOLERANCE) -> Choice:
    """Both readings of `cell` on its own input z `B r H W`; projection None if no class fits.

    Projection reads the mixed kernel, so it says nothing of operators that have none.
    """
    kernel = cell.kernel().detach().double()
    covariance = patch_covariance(z.detach(), kernel.shape[-1])
    classes = {op.name: op for op in cell.operators if op.linear}
    residual = {n: residual_of(op, kernel, covariance) for n, op in classes.items()}
    fitting = [n for n in classes if residual[n] <= tolerance]
    return Choice(
        argmax(cell), min(fitting, key=lambda n: cost(classes[n]), default=None), residual
    )


def cost(op: Operator) -> tuple[int, int, str]:
    """The order of classes: multiply-adds, then parameters (then name, so that ties are stable)."""
    return op.macs(), sum(p.numel() for p in op.parameters()), op.name


def residual_of(op: Operator, kernel: Tensor, covariance: Tensor) -> float:
    """Unexplained share of E|K * z|^2 when K `r r k k` is replaced by its best kernel in S_op."""
    W = kernel.flatten(1)  # r rkk
    energy = torch.einsum("oi,ij,oj->", W, covariance, W)
    if energy <= 0:
        return 0.0
    best = _best(op, W, covariance, kernel.shape[-1])
    left = W - best
    return float(torch.einsum("oi,ij,oj->", left, covariance, left) / energy)


def _best(op: Operator, W: Tensor, C: Tensor, side: int) -> Tensor:
    if isinstance(op, Fixed):
        return _scaled(op.constant.double(), W, C, side)
    if isinstance(op, Separable):
        return _separable(op, W, C, side)
    if isinstance(op, Dense):
        return _supported(_taps(op, side), W, C)
    raise TypeError(f"projection knows no class of kernels for {op.name}; add it to choose._best")


def _scaled(constant: Tensor, W: Tensor, C: Tensor, side: int) -> Tensor:
    """c F with c = <F, W>_C / <F, F>_C."""
    fixed = F.pad(constant, ((side - constant.shape[-1]) // 2,) * 4).flatten(1)
    norm = torch.einsum("oi,ij,oj->", fixed, C, fixed)
    return fixed * (torch.einsum("oi,ij,oj->", fixed, C, W) / norm if norm > 0 else 0)


def _taps(op: Operator, side: int) -> Tensor:
    """Which of the rkk columns a dense operator can use, bool."""
    mask = torch.zeros(side, side, dtype=torch.bool)
    low = (side - op.side) // 2
    step = getattr(op, "dilation", 1)
    mask[low : side - low : step, low : side - low : step] = True
    return mask.flatten().repeat(op.rank)


def _supported(columns: Tensor, W: Tensor, C: Tensor) -> Tensor:
    """Least squares on a subset of columns: W_S = W C[:, S] C[S, S]^+."""
    best = torch.zeros_like(W)
    best[:, columns] = W @ C[:, columns] @ torch.linalg.pinv(C[columns][:, columns], hermitian=True)
    return best


def _separable(op: Separable, W: Tensor, C: Tensor, side: int, rounds: int = 30) -> Tensor:
    """Alternating least squares for P[o, i] D[i, t], begun at the dense solution's main axis."""
    r, columns = op.rank, _taps(op, side)
    S, Csub = _supported(columns, W, C)[:, columns].reshape(r, r, -1), C[columns][:, columns]
    cross = (W @ C[:, columns]).reshape(r, r, -1)  # E[y_o p_it]
    C4 = Csub.reshape(r, S.shape[-1], r, S.shape[-1])
    D = torch.stack([torch.linalg.svd(S[:, i], full_matrices=False).Vh[0] for i in range(r)])
    for _ in range(rounds):
        gram = torch.einsum("it,itju,ju->ij", D, C4, D)
        P = torch.einsum("oit,it->oi", cross, D) @ torch.linalg.pinv(gram, hermitian=True)
        A = torch.einsum("ij,itju->itju", P.T @ P, C4).reshape(Csub.shape)
        b = torch.einsum("oi,oit->it", P, cross).flatten()
        D = (torch.linalg.pinv(A, hermitian=True) @ b).reshape(D.shape)
    best = torch.zeros_like(W)
    best[:, columns] = torch.einsum("oi,it->oit", P, D).flatten(1)
    return best
