"""Four ways to compute SAM's attention, against one another at the size of ViT-B at 1024.

    python -m naslora_core measure attention

Official: logits plus bias, all N x N kept. Ours: places appended to the heads (`sam/attention.py`).
The bias as a mask of the fused kernel, and FlexAttention, which computes it inside the kernel.
"""

import copy
from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor, nn

from naslora_core.sam.fused_attention import FusedAttention, Parts
from naslora_workbook.research.benchmark import FLOOR, interleaved, saved_mb, summary

OFFICIAL = "segment_anything"
SHAPES = {"windowed": (25, 14, 14), "global": (1, 64, 64)}  # B' H W of an image
DIM, HEADS = 768, 12


class MaskedAttention(Parts, Attention):
    """The bias, made whole, as the mask of the fused kernel: `B' H W d` to `B' H W d`."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        rows, columns = self.biases(q, x.shape[1:3])
        bias = (rows[..., :, None] + columns[..., None, :]).flatten(2)  # B'*heads HW HW
        y = F.scaled_dot_product_attention(q[None], k[None], v[None], bias[None], scale=self.scale)
        return self.join(y[0], x.shape)


class FlexAttention(Parts, Attention):
    """The bias added inside of a compiled kernel: `B' H W d` to `B' H W d`."""

    def forward(self, x: Tensor) -> Tensor:
        from torch.nn.attention.flex_attention import flex_attention

        q, k, v = self.heads(x)
        rows, columns = self.biases(q, x.shape[1:3])
        W = x.shape[2]

        def place(score, batch, head, query, key):
            return score + rows[head, query, key // W] + columns[head, query, key % W]

        run = _compiled() if x.is_cuda else flex_attention
        return self.join(run(q[None], k[None], v[None], place, scale=self.scale)[0], x.shape)


@cache
def _compiled() -> Callable:
    """Compiled once; a shape of its own for each map, none that may change."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


FORMS = {"fused": FusedAttention, "mask": MaskedAttention, "flex": FlexAttention}


def compare(
    where: str, rounds: int = 5, device: str = "cpu", shape: tuple[int, ...] = (), dim: int = DIM
) -> dict[str, dict]:
    """A row a form: time of forward and backward as ratios to the official one (median, lowest,
    highest of turns), megabytes kept for backward, largest error of output and of the input's
    gradient relative to the largest value. What cannot run says why under `refused`."""
    layer, x = _official(shape or SHAPES[where], dim, device)
    layers = {OFFICIAL: layer} | {n: form(copy.deepcopy(layer)) for n, form in FORMS.items()}
    layers = {n: m.requires_grad_(False) for n, m in layers.items()}
    truth, rows = _answer(layer, x), {}
    for name, module in layers.items():
        try:
            rows[name] = _errors(_answer(module, x), truth)
        except (RuntimeError, NotImplementedError) as error:
            rows[name] = {"refused": str(error).partition("\n")[0][:160]}
    running = {n: layers[n] for n, row in rows.items() if "refused" not in row}
    times = interleaved({n: partial(_step, m, x) for n, m in running.items()}, rounds, device)
    for name, module in running.items():
        rows[name] |= summary(times[name], times[OFFICIAL])
        rows[name]["saved_mb"] = saved_mb(module, x, FLOOR)
    return rows


def _official(shape: tuple[int, ...], dim: int, device: str) -> tuple[nn.Module, Tensor]:
    """A layer of random weights and tables, and tokens `B' H W d` for it."""
    torch.manual_seed(0)
    layer = Attention(dim, dim // (DIM // HEADS), use_rel_pos=True, input_size=shape[1:])
    nn.init.normal_(layer.rel_pos_h, std=0.1)
    nn.init.normal_(layer.rel_pos_w, std=0.1)
    return layer.to(device), torch.randn(*shape, dim, device=device)


def _answer(layer: Callable, x: Tensor) -> tuple[Tensor, Tensor]:
    """Output, and the gradient of its mean square to the input."""
    x = x.clone().requires_grad_(True)
    out = layer(x)
    return out.detach(), torch.autograd.grad(out.square().mean(), x)[0]


def _errors(found: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor]) -> dict[str, float]:
    pairs = zip(("output_error", "gradient_error"), found, truth, strict=True)
    return {n: float(f"{(a - b).abs().max() / b.abs().max():.1e}") for n, a, b in pairs}


def _step(layer: Callable, x: Tensor) -> None:
    _answer(layer, x)
