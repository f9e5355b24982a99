"""LoRA (Hu et al. 2022): y = W0 x + b + s Wd We x, on the fused qkv or any Linear of a block.

With a cell C between We and Wd, y = W0 x + b + s Wd C(We x). SAM's qkv receives channels-last
tokens `B' H W d` (a window or the whole map) without a class token, so a permutation is all that a
convolution needs.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.adaptation import Blocks, method, selected
from naslora_core.adapters.target_layers import (
    PLACES,
    Margins,
    Windows,
    on_map,
    places,
    plus_path,
    windows_of,
)
from naslora_core.errors import known, number


class LoRALinear(nn.Module):
    """A Linear and a low-rank path beside it, channels-last `... d_in` to `... d_out`.

    cell: what stands between We and Wd on the map z = We x, seen as `B' r H W`; None for nothing.
    margins: outputs before and after those that the path adds to (q alone: 0 and 2 d). windows:
    None, or those that are joined to the whole map `B r H W` before the cell.
    """

    windows: Windows | None = None

    def __init__(
        self, base: nn.Module, rank: int, scale: float, cell: nn.Module | None = None,
        margins: Margins = (0, 0),
    ):  # fmt: skip
        super().__init__()
        self.base, self.scale, self.cell, self.margins = base, scale, cell, margins
        self.in_features, self.out_features = base.in_features, base.out_features
        self.We = nn.Parameter(torch.empty(rank, base.in_features))  # r d_in
        self.Wd = nn.Parameter(torch.zeros(base.out_features - sum(margins), rank))  # zero: y = W0x
        nn.init.kaiming_uniform_(self.We, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        # y = W0 x + b + s Wd C(We x)
        z = x @ self.We.T
        z = z if self.cell is None else on_map(self.cell, z, self.windows)
        return plus_path(self.base(x), z, self.Wd, self.scale, self.margins)

    def kernel(self) -> Tensor | None:
        """What stands between We and Wd as a kernel `r r k k`; None where no kernel can say it."""
        if self.cell is None:
            return torch.eye(len(self.We)).to(self.We)[..., None, None]
        return None if self.why_unfoldable else self.cell.kernel()

    @property
    def why_unfoldable(self) -> str:
        """Why the cell is no kernel; empty if it is one."""
        why = "" if hasattr(self.cell, "kernel") else "the cell is no convolution"
        return "" if self.cell is None else getattr(self.cell, "why_unfoldable", why)

    @torch.no_grad()
    def fold(self, block: int, name: str) -> tuple[nn.Module, list["Row"]]:
        """The layer without what its Linear can take in, and a row for every path, inner first."""
        inner = isinstance(self.base, LoRALinear)
        self.base, rows = self.base.fold(block, name) if inner else (self.base, [])
        kernel = self.kernel()
        if kernel is None:
            row = Row(block, "nothing", 0, -1, self.why_unfoldable, name, self.margins)
            return self, [*rows, row]
        kernel = trimmed(kernel)
        root, centre = _root(self.base), kernel.shape[-1] // 2
        share = slice(self.margins[0], root.out_features - self.margins[1])
        root.weight = nn.Parameter(root.weight.clone())
        # W0 += s Wd K[c, c] We
        root.weight[share] += self.scale * self.Wd @ kernel[..., centre, centre] @ self.We
        if not centre:
            return self.base, [*rows, Row(block, "everything", 1, 0, "", name, self.margins)]
        kernel = kernel.clone()
        kernel[..., centre, centre] = 0
        how = self.margins, self.windows
        left = FoldedLinear(self.base, self.We, kernel, self.scale * self.Wd, *how)
        return left, [*rows, _side_branch(block, name, left, root)]


class FoldedLinear(nn.Module):
    """What a fold leaves of an adapter that looks at other tokens: W0' x + Wd (K' * We x), where K'
    has no centre tap and s is in Wd; margins and windows as LoRALinear has them."""

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
    """One adapted Linear after a fold. folded: everything, centre tap or nothing; kernel_side of
    what was there; side_macs: multiply-adds a token that stay (-1: the adapter as it was); why;
    linear: which of the block; margins and windows as LoRALinear has them."""

    block: int
    folded: str
    kernel_side: int
    side_macs: int
    why: str
    linear: str = "attn.qkv"
    margins: Margins = (0, 0)
    windows: Windows | None = None


def _side_branch(block: int, name: str, layer: FoldedLinear, root: nn.Linear) -> Row:
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


def _root(module: nn.Module) -> nn.Linear:
    """The plain Linear under what has folded so far, or could not."""
    while not isinstance(module, nn.Linear):
        module = module.linear if isinstance(module, FoldedLinear) else module.base
    return module


@method("lora", label="LoRA")
@dataclass(frozen=True)
class LoRA:
    """rank r; scale s (the factor on Wd We); blocks: which; linears: of qkv, q, k, v, proj, ...

    s multiplies what a step of Adam moves the path by. 8 is Conv-LoRA's alpha 32 at rank 4, so that
    methods are compared at like scales. Methods with a cell between We and Wd build on this one.
    """

    rank: int = 4
    scale: float = 8.0
    blocks: Blocks = "all"
    linears: tuple[str, ...] = ("qkv",)
    place: ClassVar[str] = "window"  # methods with a cell let it be set: "window" or "map"

    def __post_init__(self):
        known(self.place, PLACES, "Unknown place")
        number("rank", self.rank)

    def cell(self) -> nn.Module | None:
        """A new module for between We and Wd; None for nothing."""
        return None

    def wrap(self, linear: nn.Module, margins: Margins = (0, 0)) -> LoRALinear:
        """The adapted Linear."""
        return LoRALinear(linear, self.rank, self.scale, self.cell(), margins)

    def inject(self, encoder: nn.Module) -> None:
        """Wrap the chosen Linears of every chosen block; with place="map", cells in windowed
        attention see the whole map."""
        for _, block in selected(encoder, self.blocks):
            whole = windows_of(encoder, block) if self.place == "map" else None
            for place in places(block, self.linears):
                layer = self.wrap(place.module, place.margins)
                layer.windows = whole if place.owner is block.attn else None
                setattr(place.owner, place.name, layer)
