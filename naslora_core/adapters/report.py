"""What a fold did, block by block."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """block; folded: everything, centre tap or nothing; kernel_side of what was there; side_macs:
    multiply-adds a token that stay (-1: the adapter as it was); why it did not fold."""

    block: int
    folded: str
    kernel_side: int
    side_macs: int
    why: str


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
        lines = [f"{r.block:>5}  {r.folded:<10}  {r.side_macs:>6}  {r.why}" for r in self.rows]
        return "\n".join(["block  folded      MACs/token  what stays, and why", *lines])

    def _repr_html_(self) -> str:
        head = (
            "<tr><th>block</th><th>folded into W0</th><th>MACs a token left</th><th>why</th></tr>"
        )
        cells = (
            f"{r.block}</td><td>{r.folded}</td><td>{r.side_macs}</td><td>{r.why}" for r in self.rows
        )
        body = "".join(f"<tr><td>{c}</td></tr>" for c in cells)
        return f"<table>{head}{body}</table>"
