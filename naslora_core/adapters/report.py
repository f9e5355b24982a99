"""What a fold did, block by block."""

from dataclasses import dataclass


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


@dataclass(frozen=True)
class Report:
    """One row a block; reads as a table."""

    rows: tuple[Row, ...]
    rank: int

    @property
    def pointwise(self) -> bool:
        """Whether nothing stayed beside the base's own layers."""
        return all(row.side_macs == 0 for row in self.rows)

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
