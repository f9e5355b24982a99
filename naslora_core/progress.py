"""Progress of a long loop: a bar in a terminal or notebook, now and then a plain line elsewhere."""

import io
import sys
from collections.abc import Iterable

SECONDS = 30  # between two plain lines


class Lines(io.TextIOBase):
    """Standard error for tqdm where it is a file: every state of its bar is a line of its own."""

    def write(self, text: str) -> None:
        """The text without tqdm's return to the start of the line."""
        if text.strip():
            print(text.strip(), file=sys.stderr, flush=True)


def progress(items: Iterable, what: str, total: int, done: int = 0, quiet: bool = False):
    """`items` with their progress on stderr; `set_postfix(**facts)` shows facts beside it.

    In a file or a batch system's log a line at the start, every half a minute and at the end.
    """
    from tqdm.auto import tqdm

    if quiet or sys.stderr.isatty() or "ipykernel" in sys.modules:
        return tqdm(items, what, total, disable=quiet, initial=done)
    how = {"mininterval": SECONDS, "miniters": 1, "file": Lines()}
    line = "{desc}: {n_fmt} of {total_fmt}{postfix}"
    return tqdm(items, what, total, initial=done, bar_format=line, **how)
