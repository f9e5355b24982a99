"""Time in turns and memory of pieces of work, and the share of an overhead that is removed."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile

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


def allocated_peak(step: Callable[[], object], device: str = "cpu") -> int:
    """Most bytes alive at once during `step` beyond those alive before it.

    On a CPU from the profiler's memory events, which are every allocation and release of PyTorch's
    allocator, inside kernels too; on CUDA from the allocator's own peak.
    """
    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    events = seen.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(0, *np.cumsum([change for _, change in changes], dtype=int).tolist())


def whole_peak(module: nn.Module, optimiser, step: Callable, device: str = "cpu") -> int:
    """The same with what is always there: the module's tensors and the optimiser's states."""
    states = [t for s in optimiser.state.values() for t in s.values() if torch.is_tensor(t)]
    own = (*module.parameters(), *module.buffers(), *states)
    return size_of(own) + allocated_peak(step, device)


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


def removed_share(conv: float, nas: float) -> float:
    """Of a Conv-LoRA's overhead over LoRA what NAS-LoRA removes: (T_conv - T_nas) / (T_conv - 1).

    conv, nas: times of a step as ratios to LoRA's.
    """
    return (conv - nas) / (conv - 1)
