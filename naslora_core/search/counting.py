"""What a call costs, told in numbers that other work on the machine does not change much."""

import time
from collections.abc import Callable, Mapping

from torch.overrides import TorchFunctionMode


class _Count(TorchFunctionMode):
    seen = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.seen += getattr(function, "__name__", "") == "conv2d"
        return function(*args, **(kwargs or {}))


def convolutions(call: Callable, *arguments) -> int:
    """The number of 2-d convolutions in `call(*arguments)`."""
    with _Count() as count:
        call(*arguments)
    return count.seen


def processor_ms(work: Mapping[object, Callable], rounds: int) -> dict[object, list[float]]:
    """Milliseconds of processor time (of all threads) of every call, in turns, after a warm-up.

    Unlike wall time it leaves out what others do on the processor meanwhile.
    """
    times = {key: [] for key in work}
    for turn in range(rounds + 1):
        for key, call in work.items():
            start = time.process_time()
            call()
            times[key] += [1000 * (time.process_time() - start)] if turn else []
    return times
