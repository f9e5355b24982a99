"""How much memory the processes below this one need at their worst moment together."""

import threading
from contextlib import AbstractContextManager

import psutil


class PeakMemory(AbstractContextManager):
    """`with PeakMemory() as peak: ...`, then `peak.mb`: resident MB of all child processes.

    Sampled every `every` seconds; pages that processes share are counted once for each.
    """

    def __init__(self, every: float = 0.1):
        self.every, self.mb = every, 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._done.wait(self.every):
            self.mb = max(self.mb, sum(map(_resident, me.children(recursive=True))) / 1e6)


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0
