"""What a fold leaves of an adapter that looks at other tokens: a Linear and a side branch."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.target_layers import plus_path
from naslora_core.adapters.windows import Windows, on_map


class FoldedLinear(nn.Module):
    """W0' x + Wd (K' * We x): K' has no centre tap, s is in Wd.

    margins as LoRALinear has them, windows as SpatialLoRALinear has them.
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


def reasons(rows: list[Row]) -> str:
    """Which blocks, and why: "block 0, 1 mlp.lin1 (a 3 x 3 field ...); block 2 (...)"."""
    places: dict[str, dict[str, None]] = {}
    for row in rows:
        linear = "" if row.linear in ("attn.qkv", "block") else f" {row.linear}"
        places.setdefault(row.why, {})[f"{row.block}{linear}"] = None
    return "; ".join(f"block {', '.join(where)} ({why})" for why, where in places.items())


@dataclass(frozen=True)
class Report:
    """One row an adapted Linear; reads as a table."""

    rows: tuple[Row, ...]
    rank: int

    @property
    def pointwise(self) -> bool:
        """Whether nothing stayed beside the base's own layers."""
        return not self.beside()

    def beside(self) -> list[Row]:
        """The rows that left something beside the base's own layers."""
        return [row for row in self.rows if row.side_macs]

    def stuck(self) -> list[Row]:
        """The rows that folded nothing: the adapter is there as it was."""
        return [row for row in self.rows if row.side_macs < 0]

    def __str__(self) -> str:
        lines = [
            f"{r.block:>5}  {r.linear:<9} {r.folded:<10}  {r.side_macs:>10}  {r.why}"
            for r in self.rows
        ]
        head = "block  linear    folded      MACs/token  what stays, and why"
        return "\n".join([head, *lines])

    def _repr_html_(self) -> str:
        names = "block", "linear", "folded into W0", "MACs a token left", "why"
        head = "".join(f"<th>{n}</th>" for n in names)
        rows = ((r.block, r.linear, r.folded, r.side_macs, r.why) for r in self.rows)
        body = ("".join(f"<td>{value}</td>" for value in row) for row in rows)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{b}</tr>' for b in body)}</table>"
