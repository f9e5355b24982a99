"""What a call costs, told in numbers that other work on the machine does not change much."""

from collections.abc import Callable

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
