"""Noisy top-k gating (Shazeer et al. 2017), which sends each map to k of M experts."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Gate(nn.Module):
    """z `B' r H W` -> the chosen experts `B' k` and the logarithm of their gates `B' k`.

    With k = 1 the gate is the constant 1, so the task sends no gradient here; only `penalty`, the
    balance loss of the last forward in training (0 in eval), moves the gate then.
    """

    def __init__(self, rank: int, experts: int, k: int):
        super().__init__()
        self.k, self.penalty = k, 0.0
        self.w_gate = nn.Parameter(torch.zeros(rank, experts))  # r M
        self.w_noise = nn.Parameter(torch.zeros(rank, experts))  # r M

    def noise(self, like: Tensor) -> Tensor:
        """N(0, 1) of the shape of `like`; override to replay."""
        return torch.randn_like(like)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        # at least float32, by product and sum, which autocast leaves alone (unlike a matmul)
        g = z.mean((2, 3), dtype=torch.promote_types(z.dtype, torch.float32))[..., None]  # B' r 1
        clean = (g * self.w_gate).sum(1)
        # H = g w_gate + N(0, 1) (softplus(g w_noise) + 0.01)
        spread = F.softplus((g * self.w_noise).sum(1)) + 0.01
        noisy = clean + self.noise(clean) * spread if self.training else clean
        top, index = noisy.topk(min(self.k + 1, clean.shape[1]))
        kept, log_gates = index[:, : self.k], top[:, : self.k].log_softmax(1)
        self.penalty = 0.0
        if self.training:
            gates = torch.zeros_like(clean).scatter(1, kept, log_gates.exp())
            load = self.load(gates, clean, noisy, spread, top)
            self.penalty = 0.01 * (cv_squared(gates.sum(0)) + cv_squared(load))
        return kept, log_gates.detach() if self.k == 1 else log_gates

    def load(self, gates: Tensor, clean: Tensor, noisy: Tensor, spread: Tensor, top: Tensor):
        """Maps that each expert is to expect, `M`: a count that is smooth in w_gate and w_noise."""
        if top.shape[1] == self.k:  # every expert is kept
            return (gates > 0).sum(0)
        k_th, next_one = top[:, self.k - 1, None], top[:, self.k, None]
        # own noise drawn anew: P(kept) = Phi((clean - k-th best of the others) / spread)
        bar = torch.where(noisy > next_one, next_one, k_th)
        return torch.special.ndtr((clean - bar) / spread).sum(0)

    def __getstate__(self) -> dict:
        """Without the last penalty: it hangs on a graph, which no copy can take along."""
        return self.__dict__ | {"penalty": 0.0}


def cv_squared(x: Tensor) -> Tensor | float:
    """The squared coefficient of variation, var / mean^2, with the unbiased variance."""
    if len(x) == 1:
        return 0.0
    x = x if x.is_floating_point() else x.float()
    return x.var() / (x.mean() ** 2 + 1e-10)
