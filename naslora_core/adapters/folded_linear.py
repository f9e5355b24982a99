"""What a fold leaves of an adapter that looks at other tokens: a Linear and a side branch."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.target_layers import Windows, on_map, plus_path


class FoldedLinear(nn.Module):
    """W0' x + Wd (K' * We x): K' has no centre tap, s is in Wd.

    margins as LoRALinear has them, windows as LoRALinear has them.
    """

    def __init__(self, linear: nn.Module, We: Tensor, kernel: Tensor, Wd: Tensor, margins, windows):
        super().__init__()
        self.linear, self.margins = linear, tuple(margins)
        self.windows = Windows(*windows) if windows else None
        self.in_features, self.out_features = linear.in_features, linear.out_features
        for name, value in (("We", We), ("kernel", kernel), ("Wd", Wd)):
            self.register_buffer(name, value.clone())

    def forward(self, x: Tensor) -> Tensor:
        z = on_map(self.convolve, x @ self.We.T, self.windows)
        return plus_path(self.linear(x), z, self.Wd, 1.0, self.margins)

    def convolve(self, z: Tensor) -> Tensor:
        """K' * z, `B r H W`."""
        return F.conv2d(z, self.kernel, padding=self.kernel.shape[-1] // 2)


@dataclass(frozen=True)
class Row:
    """block; folded: everything, centre tap or nothing; kernel_side of what was there; side_macs:
    multiply-adds a token that stay (-1: the adapter as it was); why it did not fold; which Linear
    of the block, and which outputs of it (margins, as LoRALinear has them); the windows that the
    side branch joins to one map (side, height, width), if it does."""

    block: int
    folded: str
    kernel_side: int
    side_macs: int
    why: str
    linear: str = "attn.qkv"
    margins: tuple[int, int] = (0, 0)
    windows: tuple[int, int, int] | None = None


def side_branch(block: int, name: str, layer: FoldedLinear, root: nn.Linear) -> Row:
    """What a side branch beside `root` costs, and why it stays."""
    (rank, _, _, side), width = layer.kernel.shape, root.in_features
    macs = rank * (width + len(layer.Wd)) + (side**2 - 1) * rank**2
    cost = macs / (width * root.out_features)
    what = name.split(".")[1]
    why = f"a {side} x {side} field reaches other tokens, a Linear does not ({cost:.2%} of {what})"
    return Row(block, "centre tap", side, macs, why, name, layer.margins, layer.windows)


def trimmed(kernel: Tensor) -> Tensor:
    """A kernel `r r k k` without outer rings that are exactly zero."""
    while kernel.shape[-1] > 1:
        inner = kernel[..., 1:-1, 1:-1]
        if torch.count_nonzero(kernel) != torch.count_nonzero(inner):
            break
        kernel = inner
    return kernel
