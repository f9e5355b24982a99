"""Two ways to run Conv-LoRA's experts, equal in values and gradients.

Expert i = 1..M: bicubic upsampling by i, 3 x 3 convolution, GELU, bicubic resizing back. Of k > 1
experts the combination is  E = log sum_j g_j exp(E_j) , Shazeer's; with k = 1 it is E_j itself.
Arguments of both: z `B' r H W`, index and log_gates `B' k`, weight `M r r 3 3`, bias `M r`.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


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
