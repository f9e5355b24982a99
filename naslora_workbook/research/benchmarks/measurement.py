"""Time in turns, memory for backward and convolutions of pieces of work."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

Clock = Callable[[], float]  # seconds


def interleaved(
    work: Mapping, rounds: int, device: str = "cpu", clock: Clock = time.perf_counter
) -> dict[object, list[float]]:
    """Milliseconds of every piece of work, in turn, after one round that warms up.

    clock: of a CPU; time.process_time leaves out what others do on the processor meanwhile.
    """
    times = {key: [] for key in work}
    for turn in range(rounds + 1):
        for key, call in work.items():
            elapsed = milliseconds(call, device, clock)
            times[key] += [elapsed] if turn else []
    return times


def milliseconds(call: Callable[[], object], device: str, clock: Clock) -> float:
    """Time of one call by the clock; on CUDA between two events."""
    if torch.device(device).type != "cuda":
        start = clock()
        call()
        return 1000 * (clock() - start)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def summary(mine: Sequence[float], reference: Sequence[float]) -> dict:
    """Median milliseconds, and the ratios of each turn's pair: median, lowest and highest."""
    ratios = [a / b for a, b in zip(mine, reference, strict=True)]
    return {
        "ms": round(statistics.median(mine), 2),
        "ratio": round(statistics.median(ratios), 4),
        "spread": [round(min(ratios), 4), round(max(ratios), 4)],
    }


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind some tensors, each counted once."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def saved_mb(module: nn.Module, inputs: Tensor) -> float:
    """Megabytes that a forward pass keeps for backward, parameters and inputs not counted."""
    own = (*module.parameters(), *module.buffers(), inputs)
    known, saved = {t.untyped_storage()._cdata for t in own}, []
    with saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        _ = module(inputs)
    new = (t for t in saved if t.untyped_storage()._cdata not in known)
    return round(size_of(new) / 2**20, 3)


class _Convolutions(TorchFunctionMode):
    seen = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.seen += getattr(function, "__name__", "") == "conv2d"
        return function(*args, **(kwargs or {}))


def convolutions(call: Callable, *arguments) -> int:
    """The number of 2-d convolutions in `call(*arguments)`."""
    with _Convolutions() as count:
        call(*arguments)
    return count.seen
