"""Conv-LoRA (Zhong et al. 2024): y = W0 x + b + (alpha / r) Wd (z + E_j(z)), z = We x.

Expert i = 1..M: bicubic upsampling by i, 3 x 3 convolution, GELU, bicubic resizing back. The expert
of a map (a window, in windowed blocks) is chosen by a noisy top-k gate (Shazeer et al. 2017). Of
k > 1 experts the combination is  E = log sum_j g_j exp(E_j) ; with k = 1 it is E_j itself. GELU and
the choice stand between We and Wd, so nothing of it folds.

There are two ways to run the experts, equal in values and gradients: `released` and `fast`.
Arguments of both: z `B' r H W`, index and log_gates `B' k`, weight `M r r 3 3`, bias `M r`.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.adaptation import method
from naslora_core.adapters.lora import LoRA
from naslora_core.errors import fault


class Gate(nn.Module):
    """z `B' r H W` -> the chosen experts `B' k` and the logarithm of their gates `B' k`.

    With k = 1 the gate is the constant 1, so only `auxiliary_loss`, the balance loss of the last
    forward pass in training (0 in eval), moves it.
    """

    def __init__(self, rank: int, experts: int, k: int):
        super().__init__()
        self.k, self.auxiliary_loss = k, 0.0
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
        self.auxiliary_loss = 0.0
        if self.training:
            gates = torch.zeros_like(clean).scatter(1, kept, log_gates.exp())
            load = self.load(gates, clean, noisy, spread, top)
            self.auxiliary_loss = 0.01 * (cv_squared(gates.sum(0)) + cv_squared(load))
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
        return self.__dict__ | {"auxiliary_loss": 0.0}


def cv_squared(x: Tensor) -> Tensor | float:
    """The squared coefficient of variation, var / mean^2, with the unbiased variance."""
    if len(x) == 1:
        return 0.0
    x = x if x.is_floating_point() else x.float()
    return x.var() / (x.mean() ** 2 + 1e-10)


def expert(z: Tensor, i: int, weight: Tensor, bias: Tensor) -> Tensor:
    """E_i(z), `b r H W`, literally; weight `r r 3 3`, bias `r`."""
    up = z if i == 1 else F.interpolate(z, scale_factor=i, mode="bicubic")
    up = F.gelu(F.conv2d(up, weight, bias, padding=1))
    return up if i == 1 else F.interpolate(up, size=z.shape[2:], mode="bicubic")


def released(z: Tensor, index: Tensor, log_gates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """E(z) `B' r H W`, as the released code dispatches: sort, one call an expert, exp and log.

    It waits for the host (the shares' sizes), and exp overflows to inf above about 88 in float32.
    """
    gates = log_gates.new_zeros(len(z), len(weight)).scatter(1, index, log_gates.exp())
    which, order = torch.nonzero(gates).sort(0)
    which, batch = which[:, 1], torch.nonzero(gates)[order[:, 1], 0]
    shares = z[batch].split((gates > 0).sum(0).tolist())
    ways = enumerate(zip(shares, weight, bias, strict=True), 1)
    outs = torch.cat([expert(share, i, w, b) for i, (share, w, b) in ways if len(share)])
    # E = log sum_j g_j exp(E_j)
    parts = outs.to(gates.dtype).exp() * gates[batch, which, None, None, None]
    total = torch.zeros_like(z, dtype=gates.dtype).index_add(0, batch, parts)
    return total.masked_fill(total == 0, torch.finfo(torch.float64).eps).log()


def fast(z: Tensor, index: Tensor, log_gates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """E(z) `B' r H W` without any wait for the host: five batched products, shapes known ahead.

    Resizing back reads 4 x 4 upsampled positions a token, whatever i is. Only these are computed,
    and bicubic upsampling is a matrix an axis, so each map takes its own expert's matrices.
    """
    j, k = index.flatten(), index.shape[1]
    z = z.repeat_interleave(k, 0) if k > 1 else z
    # rows, columns: n 3 4H H; y, x: the taps of the 3 x 3 kernel; p, q: upsampled positions
    rows, columns = (upsampling(len(weight), n, z.device, z.dtype)[j] for n in z.shape[2:])
    lines = torch.einsum("nyph,nihw->nyipw", rows, z)
    mixed = torch.einsum("noiyx,nyipw->nopxw", weight[j], lines)
    up = torch.einsum("nopxw,nxqw->nopq", mixed, columns) + bias[j, :, None, None]
    up = F.gelu(up).unflatten(3, (-1, 4)).unflatten(2, (-1, 4))
    back = shrinking(len(weight), z.device, up.dtype)[j]
    out = torch.einsum("nohpwq,np,nq->nohw", up, back, back)
    if k == 1:
        return out
    # E = log sum_j exp(E_j + log g_j)
    return (out.unflatten(0, (-1, k)) + log_gates[..., None, None, None]).logsumexp(1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def upsampling(experts: int, n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What the taps of expert i see of an axis of n tokens, `M 3 4n n`, zero beyond the border."""
    eye, found = torch.eye(n, dtype=torch.float64)[None, None], []
    for i in range(1, experts + 1):
        whole = F.interpolate(eye, scale_factor=(i, 1), mode="bicubic")[0, 0]  # i n, n
        # resizing back to token o reads around (o + 1/2) i - 1/2: its floor, one before, two after
        first = torch.arange(n)[:, None] * i + (i - 1) // 2
        read = (first + torch.arange(-1, 3)).clamp(0, i * n - 1).flatten()
        found.append(F.pad(whole, (0, 0, 1, 1))[torch.stack([read, read + 1, read + 2])])
    return torch.stack(found).to(device, dtype)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def shrinking(experts: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The weights of the four positions, `M 4`: bicubic at 0 where i is odd, else halfway."""
    odd, even = (0.0, 1.0, 0.0, 0.0), (-3 / 32, 19 / 32, 19 / 32, -3 / 32)
    rows = [odd if i % 2 else even for i in range(1, experts + 1)]
    return torch.tensor(rows, dtype=dtype, device=device)


DISPATCHES = {"fast": fast, "released": released}


class ConvExperts(nn.Module):
    """z `B' r H W` -> z + E(z): M convolutions r -> r with bias, and the gate before them."""

    why_unfoldable = "an expert with GELU is no convolution"

    def __init__(self, rank: int, experts: int, k: int, dispatch: str):
        super().__init__()
        self.dispatch = dispatch
        self.gate = Gate(rank, experts, k)
        self.weight = nn.Parameter(torch.empty(experts, rank, rank, 3, 3))  # M r r 3 3
        self.bias = nn.Parameter(torch.zeros(experts, rank))  # M r
        for weight in self.weight:
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))

    def forward(self, z: Tensor) -> Tensor:
        run = DISPATCHES[self.dispatch]
        # z + E_j(z), j chosen by the gate
        return z + run(z, *self.gate(z), self.weight, self.bias).to(z.dtype)


@method("conv_lora", label="Conv-LoRA")
@dataclass(frozen=True)
class ConvLoRA(LoRA):
    """rank r; lora_alpha: the path's factor is lora_alpha / r; experts M, of which a map takes k.

    dispatch: "fast" (never waits for the host) or "released" (as the released code), equal.
    """

    rank: int = 3
    lora_alpha: float = 32.0
    experts: int = 8
    k: int = 1
    dispatch: str = "fast"
    scale: ClassVar[float]

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.k <= self.experts or self.dispatch not in DISPATCHES:
            given = f"has experts={self.experts}, k={self.k}, dispatch={self.dispatch!r}"
            expected = f"k from 1 to experts, and dispatch of {', '.join(DISPATCHES)}"
            raise fault("ConvLoRA", given, expected, "change them")

    @property
    def scale(self) -> float:
        """alpha / r, which follows from the two and is no setting."""
        return self.lora_alpha / self.rank

    def cell(self) -> nn.Module:
        return ConvExperts(self.rank, self.experts, self.k, self.dispatch)
