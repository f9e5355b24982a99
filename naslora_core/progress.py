"""Progress of a long loop: a bar in a terminal or notebook, now and then a plain line elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator

SECONDS = 30  # between two plain lines


def progress(items: Iterable, what: str, total: int, done: int = 0, quiet: bool = False):
    """`items` with their progress on stderr; `set_postfix(**facts)` shows facts beside it.

    In a file or a batch system's log a line every half a minute, and one at the end.
    """
    if quiet or sys.stderr.isatty() or "ipykernel" in sys.modules:
        from tqdm.auto import tqdm

        return tqdm(items, what, total, disable=quiet, initial=done)
    return PlainProgress(items, what, total, done)


class PlainProgress:
    """What tqdm's bar is to a terminal, as lines."""

    def __init__(self, items: Iterable, what: str, total: int, done: int):
        self.items, self.what, self.total, self.done, self.facts = items, what, total, done, {}

    def set_postfix(self, refresh: bool = True, **facts) -> None:
        """Facts that the next line shows."""
        self.facts = facts

    def __iter__(self) -> Iterator:
        last = time.monotonic()
        for item in self.items:
            yield item
            self.done += 1
            if time.monotonic() - last > SECONDS or self.done == self.total:
                last = time.monotonic()
                facts = "".join(f", {name} {value}" for name, value in self.facts.items())
                line = f"{self.what}: {self.done} of {self.total}{facts}"
                print(line, file=sys.stderr, flush=True)
