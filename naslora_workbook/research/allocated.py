"""How much memory a step really takes at its worst moment: what plans are held against."""

from collections.abc import Callable

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from naslora_workbook.research.footprint import size_of


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
    live = peak = 0
    for _, change in changes:
        live += change
        peak = max(peak, live)
    return peak


def whole_peak(
    module: nn.Module, optimiser, step: Callable[[], object], device: str = "cpu"
) -> int:
    """The same with what is always there: the module's tensors and the optimiser's states."""
    states = [t for s in optimiser.state.values() for t in s.values() if torch.is_tensor(t)]
    own = size_of([*module.parameters(), *module.buffers(), *states])
    return own + allocated_peak(step, device)
