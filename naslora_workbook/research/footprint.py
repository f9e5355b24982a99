"""What a training step will need, from shapes alone: no tensor has values, nothing is computed.

The step runs on tensors without contents (PyTorch's fake tensors), and every operation is watched:
what it allocates and when that is freed, its multiply-adds, the bytes it reads and writes. Not
seen: what a kernel takes for itself while it runs.
"""

import copy
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from naslora_core.adapters.conv_lora import shrinking, upsampling
from naslora_core.errors import UserError

# AdamW, counted instead of run: tensors read and written a parameter, and operations
PASSES, CALLS = 20, 12


@dataclass(frozen=True)
class Footprint:
    """Bytes: of weights and buffers (`weights`), of AdamW's two states (`states`), kept for
    backward when the forward pass ends (`kept`), of gradients, and the most that is alive at once
    beside weights and states (`working`). flops; traffic: bytes that operations read and write;
    operations: their number; AdamW's counted in."""

    weights: int
    states: int
    kept: int
    gradients: int
    working: int
    flops: int
    traffic: int
    operations: int

    @property
    def peak(self) -> int:
        """Bytes alive at once, at the worst moment of any step after the first."""
        return self.weights + self.states + self.working


def footprint(module: nn.Module, forward: Callable[[nn.Module], Tensor], device="cpu") -> Footprint:
    """The footprint of `forward(module).backward()`; forward makes its inputs on `device` itself.

    module: its tensors may be on the meta device. Raises UserError where shapes depend on values.
    """
    for made in (upsampling, shrinking):  # what was made with values, or without, stays apart
        made.cache_clear()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return _run(_hollow(module, device), forward)
    except DynamicOutputShapeException as error:
        raise UserError(
            f"The shapes in a step of {type(module).__name__} depend on values ({error.func}), so "
            "it cannot be planned; measure it, or take ConvLoRA's dispatch='fast'."
        ) from error
    finally:
        for made in (upsampling, shrinking):
            made.cache_clear()


def _run(twin: nn.Module, forward: Callable) -> Footprint:
    parameters = [p for p in twin.parameters() if p.requires_grad]
    own = [*twin.parameters(), *twin.buffers()]
    with Tally(own) as tally:
        loss = forward(twin)
        kept = tally.live
        if loss.requires_grad:
            loss.backward()
        del loss
    gradients = size_of(p.grad for p in parameters if p.grad is not None)
    states = 2 * size_of(parameters)
    return Footprint(
        size_of(own), states, kept, gradients, tally.peak, tally.flops,
        tally.traffic + PASSES * states // 2, tally.operations + CALLS * len(parameters),
    )  # fmt: skip


def _hollow(module: nn.Module, device) -> nn.Module:
    """The module with tensors that have a shape, a type and a device, and no values."""
    memo = {}
    for p in module.parameters():
        empty = torch.empty(p.shape, dtype=p.dtype, device=device)
        memo[id(p)] = nn.Parameter(empty, requires_grad=p.requires_grad)
    for b in module.buffers():
        memo[id(b)] = torch.empty(b.shape, dtype=b.dtype, device=device)
    return copy.deepcopy(module, memo)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind some tensors, each counted once."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


class Tally(TorchDispatchMode):
    """Counts, while it is entered, what every operation allocates, computes and touches."""

    def __init__(self, own: Iterable[Tensor]):
        super().__init__()
        self.live = self.peak = self.flops = self.traffic = self.operations = 0
        self._known = {t.untyped_storage()._cdata for t in own}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        for tensor in results:
            self._watch(tensor.untyped_storage())
        if not function.is_view:
            self._work(function, args, kwargs or {}, out, results)
        return out

    def _watch(self, storage) -> None:
        """Count a storage that was not there before, until it is freed."""
        name = storage._cdata
        if name in self._known:
            return
        self._known.add(name)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._freed, name, storage.nbytes())

    def _freed(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.live -= size

    def _work(self, function, args, kwargs, out, results: list[Tensor]) -> None:
        self.operations += 1
        count = FLOPS.get(function._overloadpacket)
        self.flops += count(*args, **kwargs, out_val=out) if count else 0
        inputs = (t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor))
        self.traffic += sum(t.numel() * t.element_size() for t in (*inputs, *results))


def _attention(query, key, value, *_, out_val=None, **__) -> int:
    """softmax(q k^T) v, a multiplication and an addition counted two."""
    pairs = query.shape[:-1].numel() * key.shape[-2]
    return 2 * pairs * (query.shape[-1] + value.shape[-1])


def _attention_backward(gradient, query, key, value, *_, out_val=None, **__) -> int:
    """The logits once more, and four products back (2.5 times forward)."""
    return _attention(query, key, value) * 5 // 2


_CPU = "_scaled_dot_product_flash_attention_for_cpu"  # not in PyTorch's own registry
FLOPS = dict(flop_registry) | {
    getattr(torch.ops.aten, _CPU): _attention,
    getattr(torch.ops.aten, f"{_CPU}_backward"): _attention_backward,
}
