"""What a look at all the data found: a table, faults that stop a training, notes that do not."""

import html
from dataclasses import dataclass

COLUMNS = ("part", "images", "size (min / median / max)", "empty", "foreground (median, range)")


@dataclass(frozen=True)
class Report:
    """rows: one a split, one for all, one a class, each with COLUMNS as keys; faults and notes:
    sentences. Reads as a table."""

    name: str
    rows: tuple[dict[str, str], ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing stops a training."""
        return not self.faults

    def __str__(self) -> str:
        table = [COLUMNS, *(tuple(row[c] for c in COLUMNS) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        for title, sentences in self._lists():
            lines += [f"{title}:", *(f"  - {sentence}" for sentence in sentences)]
        return "\n".join([self._verdict(), *(lines if self.rows else lines[1:])])

    def _verdict(self) -> str:
        count = len(self.faults)
        return f"{self.name}: " + (f"{count} fault(s) stop a training" if count else "no fault")

    def _lists(self):
        lists = (("Faults", self.faults), ("Notes", self.notes))
        return [(title, sentences) for title, sentences in lists if sentences]

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{c}</th>" for c in COLUMNS)
        cells = ("".join(f"<td>{html.escape(row[c])}</td>" for c in COLUMNS) for row in self.rows)
        table = f"<table><tr>{head}</tr>{''.join(f'<tr>{c}</tr>' for c in cells)}</table>"
        lists = "".join(
            f"<p>{title}</p><ul>{''.join(f'<li>{html.escape(s)}</li>' for s in sentences)}</ul>"
            for title, sentences in self._lists()
        )
        return f"<p>{html.escape(self._verdict())}</p>{table if self.rows else ''}{lists}"
