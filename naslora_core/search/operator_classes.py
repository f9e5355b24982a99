"""The best member of an operator's class of kernels, by least squares on the data.

W `o rkk` is a kernel with its taps flattened, C `rkk rkk` the covariance of the patches p that it
meets, so E|W p|^2 = tr(W C W^T). `nearest_kernel` takes every kernel that the operator can be as it
stands.

`nearest_member` lets z change its basis too. Between a learned We and a learned Wd the kernels K
and B K A are one adapter (A goes into We, B into Wd): there skip is any pointwise map, a pool may
mix its channels, and a separable kernel is a sum of r products  sum_b U[o, b] V[b, i] D[b, t].
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_core.search.operator_registry import Operator, padded
from naslora_core.search.operators import Dense, Fixed, Separable

ROUNDS = 60  # of alternating least squares; each lowers the error


@dataclass(frozen=True)
class Member:
    """out `o r`, the operator's own kernel `r r k k`, into `r r`: together out kernel into."""

    out: Tensor
    kernel: Tensor
    into: Tensor

    def flat(self, side: int) -> Tensor:
        """out kernel into, padded to `side`: `o rkk`."""
        whole = torch.einsum("oa,abyx,bi->oiyx", self.out, self.kernel, self.into)
        return padded(whole, side).flatten(1)


def has_class(op: Operator) -> bool:
    """Whether it is known which kernels `op` can be; so of Fixed, Dense and Separable ones."""
    return op.linear and isinstance(op, Fixed | Dense | Separable)


def nearest_kernel(op: Operator, W: Tensor, C: Tensor, side: int) -> Tensor:
    """The kernel nearest to W `r rkk` among those that `op` can be, flattened like W."""
    if isinstance(op, Fixed):
        # c F with c = <F, W>_C / <F, F>_C
        fixed = padded(op.constant.double(), side).flatten(1)
        norm = torch.einsum("oi,ij,oj->", fixed, C, fixed)
        return fixed * (torch.einsum("oi,ij,oj->", fixed, C, W) / norm if norm > 0 else 0)
    columns = taps(op, side)
    best = supported(columns, W, C)
    if isinstance(op, Separable):
        # P[o, i] D[i, t] is the product of `nearest_member` with V = I
        Csub, cross = C[columns][:, columns], W @ C[:, columns]
        dense = best[:, columns].reshape(len(W), op.rank, -1)
        P, _, D = _alternate(*_leading(dense), Csub, cross, moves_V=False)
        best[:, columns] = torch.einsum("oi,it->oit", P, D).flatten(1)
    return best


def nearest_member(op: Operator, W: Tensor, C: Tensor, side: int) -> Member:
    """The member of `op` nearest to W `o rkk` when We and Wd may change the basis of z."""
    r, eye = op.rank, torch.eye(op.rank).to(W)
    if isinstance(op, Fixed):
        # least squares of W p on the r features F p
        fixed = padded(op.kernel().double(), side).flatten(1)
        out = W @ C @ fixed.T @ _inverse(fixed @ C @ fixed.T)
        return Member(out, op.kernel().double(), eye)
    if isinstance(op, Separable):
        return _product(op, W, C, side)
    left, values, right = torch.linalg.svd(supported(taps(op, side), W, C), full_matrices=False)
    own = slice((side - op.side) // 2, (side + op.side) // 2)
    kernel = right[:r].view(r, r, side, side)[..., own, own]
    return Member(left[:, :r] * values[:r], kernel, eye)


def taps(op: Operator, side: int) -> Tensor:
    """Which of the rkk columns a dense or separable operator can use, bool."""
    own = torch.zeros(op.side**2, dtype=torch.bool).index_fill(0, op.seats(), True)
    return padded(own.view(op.side, op.side), side).flatten().repeat(op.rank)


def supported(columns: Tensor, W: Tensor, C: Tensor) -> Tensor:
    """Least squares on a subset of columns: W_S = W C[:, S] C[S, S]^+."""
    best = torch.zeros_like(W)
    best[:, columns] = W @ C[:, columns] @ _inverse(C[columns][:, columns])
    return best


def _inverse(gram: Tensor) -> Tensor:
    return torch.linalg.pinv(gram, hermitian=True)


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """gram^-1 right, with a trace of damping, since a gram may be singular."""
    damped = gram + (1e-12 * gram.trace() / len(gram) + 1e-30) * torch.eye(len(gram)).to(gram)
    return torch.linalg.solve(damped, right)


def _product(op: Separable, W: Tensor, C: Tensor, side: int) -> Member:
    """The lower of two alternating fits of sum_b U[o, b] V[b, i] D[b, t] (a CP decomposition)."""
    r, columns = op.rank, taps(op, side)
    Csub, cross = C[columns][:, columns], W @ C[:, columns]  # cross: E[y_o p_it]
    K = (cross @ _inverse(Csub)).reshape(len(W), r, -1)  # o i t, the dense fit
    fits = [_alternate(V, D, Csub, cross) for V, D in (_simultaneous(K), _leading(K))]
    U, V, D = min(fits, key=lambda fit: _missed(*fit, Csub, cross))
    kernel = torch.diag_embed(D.T).permute(1, 2, 0).reshape(r, r, op.side, op.side)
    return Member(U, kernel, V)


def _missed(U: Tensor, V: Tensor, D: Tensor, C: Tensor, cross: Tensor) -> float:
    """The error of a fit, up to the constant E|y|^2."""
    best = U @ torch.einsum("bi,bt->bit", V, D).flatten(1)
    return float(((best @ C - 2 * cross) * best).sum())


def _alternate(
    V: Tensor, D: Tensor, C: Tensor, cross: Tensor, moves_V: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Least squares for U, V (unless it is fixed) and D in turn, the other two held."""
    (r, n), C4 = D.shape, C.view(V.shape[1], D.shape[1], V.shape[1], D.shape[1])  # i t j u
    for _ in range(ROUNDS):
        U = _outer(V, D, C, cross)
        both, found = U.T @ U, (U.T @ cross).view(r, -1, n)  # b c, b i t
        if moves_V:
            A = torch.einsum("biju,cu->bicj", torch.einsum("bt,itju->biju", D, C4), D)
            A = (A * both[:, None, :, None]).reshape(V.numel(), -1)
            V = _solve(A, torch.einsum("bit,bt->bi", found, D).flatten()).view_as(V)
        A = torch.einsum("btju,cj->btcu", torch.einsum("bi,itju->btju", V, C4), V)
        A = (A * both[:, None, :, None]).reshape(D.numel(), -1)
        D = _solve(A, torch.einsum("bit,bi->bt", found, V).flatten()).view_as(D)
        V, D = F.normalize(V, dim=1), F.normalize(D, dim=1)
    return _outer(V, D, C, cross), V, D


def _outer(V: Tensor, D: Tensor, C: Tensor, cross: Tensor) -> Tensor:
    """U `o b`, given the r features V and D."""
    features = torch.einsum("bi,bt->bit", V, D).flatten(1)
    return cross @ features.T @ _inverse(features @ C @ features.T)


def _leading(K: Tensor) -> tuple[Tensor, Tensor]:
    """A start: every input channel of `o i t` as it is, with its tap pattern of most energy."""
    patterns = torch.linalg.svd(K.transpose(0, 1), full_matrices=False).Vh[:, 0]  # i t
    return torch.eye(K.shape[1]).to(K), patterns


def _simultaneous(K: Tensor) -> tuple[Tensor, Tensor]:
    """A start that is exact where K is separable: two slices share their eigenvectors (Jennrich).

    K_s = sum_t s_t K[:, :, t] = U diag(D s) V, so pinv(K_s) K_u has the rows of V as left ones.
    """
    g = torch.Generator().manual_seed(0)
    s, u = torch.randn(2, K.shape[-1], generator=g, dtype=K.dtype).to(K)
    pencil = torch.linalg.pinv(K @ s) @ (K @ u)  # i i
    V = torch.linalg.eig(pencil.T).eigenvectors.real.T  # rows v with v pencil = lambda v
    U = torch.linalg.svd(K.flatten(1), full_matrices=False).U  # o r
    core = torch.einsum("oa,oit,ib->abt", U, K, torch.linalg.pinv(V))  # channels in V's basis
    return F.normalize(V, dim=1), _leading(core)[1]
