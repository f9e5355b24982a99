"""The windows of a block as one map again, and back: where a spatial map may look.

SAM partitions the tokens before attention, so what stands in `qkv` or `proj` of a windowed block
sees every window alone, and the zeros that fill the last ones. Joined, a map is what it was.
"""

from collections.abc import Callable
from typing import NamedTuple

from segment_anything.modeling.image_encoder import window_partition, window_unpartition
from torch import Tensor, nn

PLACES = ("window", "map")


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
