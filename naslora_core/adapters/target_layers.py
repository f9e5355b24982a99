"""Where an adapter acts: in which Linears of a block, and on which tokens together.

SAM partitions the tokens before attention, so what stands in `qkv` or `proj` of a windowed block
sees every window alone, and the zeros that fill the last ones. `Windows` joins them to one map.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import window_partition, window_unpartition
from torch import Tensor, nn

from naslora_core.adapters.adaptation import require_unadapted
from naslora_core.errors import UserError

Margins = tuple[int, int]
# The fused qkv gives q, k and v one after the other; "q" is its first third of outputs.
THIRDS = ("q", "k", "v")
LINEARS = {"qkv": ("attn", "qkv"), "proj": ("attn", "proj"), "lin1": ("mlp", "lin1"),
           "lin2": ("mlp", "lin2")}  # fmt: skip
PLACES = ("window", "map")  # what a cell in windowed attention sees


class Place(NamedTuple):
    """A Linear of a block (`owner.name`), and how many of its outputs lie before and after the
    share that is meant."""

    owner: nn.Module
    name: str
    margins: Margins = (0, 0)

    @property
    def module(self) -> nn.Module:
        """What stands there now."""
        return getattr(self.owner, self.name)


def places(block: nn.Module, linears: tuple[str, ...]) -> list[Place]:
    """The places that names mean: qkv, or q, k, v of it; proj; lin1, lin2.

    Raises UserError for an unknown name, the same output twice, or a Linear already adapted.
    """
    known = (*LINEARS, *THIRDS)
    twice = len(set(linears)) < len(linears) or ("qkv" in linears and {*linears} & {*THIRDS})
    if isinstance(linears, str) or not linears or twice or not set(linears) <= set(known):
        raise UserError(
            f"linears={linears!r} is no choice of Linears; name each once, of {', '.join(known)} "
            "(qkv stands for q, k and v together)."
        )
    return [_place(block, name) for name in linears]


def _place(block: nn.Module, name: str) -> Place:
    part, attribute = LINEARS.get(name, LINEARS["qkv"])
    owner = getattr(block, part)
    linear = require_unadapted(getattr(owner, attribute), nn.Linear, attribute)
    if name not in THIRDS:
        return Place(owner, attribute)
    width, third = linear.out_features // 3, THIRDS.index(name)
    return Place(owner, attribute, (third * width, (2 - third) * width))


def plus_path(y: Tensor, z: Tensor, Wd: Tensor, scale: float, margins: Margins) -> Tensor:
    """y + scale z Wd^T for a fresh y `... d_out`; z `... r`, Wd `d_out r` (less the margins).

    The sum is made inside the product, without a pass over y of its own; in y itself where no
    gradient is kept.
    """
    if any(margins):
        return y + F.pad(scale * (z @ Wd.T), margins)
    flat = y.flatten(0, -2), z.flatten(0, -2), Wd.T
    if torch.is_grad_enabled() or y.dtype != Wd.dtype:  # autocast leaves addmm_ alone
        return torch.addmm(*flat, alpha=scale).view_as(y)
    return flat[0].addmm_(*flat[1:], alpha=scale).view_as(y)


class Windows(NamedTuple):
    """Windows of `side x side` tokens over a map of `height x width`, its far edges padded."""

    side: int
    height: int
    width: int

    def join(self, z: Tensor) -> Tensor:
        """`B' side side r` to `B height width r`; what stood on padding is dropped."""
        size = self.height, self.width
        padded = tuple(-(-n // self.side) * self.side for n in size)
        return window_unpartition(z.contiguous(), self.side, padded, size)

    def split(self, z: Tensor) -> Tensor:
        """`B height width r` to `B' side side r`; 0 on padding."""
        return window_partition(z.contiguous(), self.side)[0]


def windows_of(encoder: nn.Module, block: nn.Module) -> Windows | None:
    """The windows of a block of `encoder`; None in a global one, which sees the whole map."""
    if block.window_size == 0:
        return None
    patch = encoder.patch_embed.proj.stride
    return Windows(block.window_size, *(encoder.img_size // p for p in patch))


def on_map(cell: Callable[[Tensor], Tensor], z: Tensor, windows: Windows | None) -> Tensor:
    """A spatial map `B r H W` on channels-last z; on the whole map where windows are given."""
    z = windows.join(z) if windows else z
    z = cell(z.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return windows.split(z) if windows else z
