"""Will it fit: the memory of a training step, before anything is loaded or downloaded.

    python -m naslora_core plan vit_b --method nas_lora --card 16

The step runs on tensors that have shapes and no values (PyTorch's fake tensors), and every
operation is watched: what it allocates, and when that is freed. What a kernel takes for itself
while it runs is not seen. A test compares plans with measured peaks.
"""

import copy
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from naslora_core.adapters import adapt
from naslora_core.adapters.adaptation import Method
from naslora_core.adapters.conv_lora import shrinking, upsampling
from naslora_core.errors import UserError, known
from naslora_core.sam import fuse
from naslora_core.sam.checkpointing import checkpointed
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.search.cell import kernel_layout
from naslora_core.training.losses import cross_entropy_dice
from naslora_workbook.research.benchmarks.measurement import size_of

TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
ROOM = 0.9  # share of a card that a plan fills: its driver and fragments take the rest


@dataclass(frozen=True)
class Footprint:
    """Bytes: of weights and buffers (`weights`), of AdamW's two states (`states`), kept for
    backward when the forward pass ends (`kept`), of gradients, and the most that is alive at once
    beside weights and states (`working`)."""

    weights: int
    states: int
    kept: int
    gradients: int
    working: int

    @property
    def peak(self) -> int:
        """Bytes alive at once, at the worst moment of any step after the first."""
        return self.weights + self.states + self.working

    def __str__(self) -> str:
        parts = {"weights": self.weights, "AdamW": self.states, "gradients": self.gradients}
        parts |= {"kept for backward": self.kept, "largest moment beside weights": self.working}
        return ", ".join(f"{name} {size / 1e9:.3f} GB" for name, size in parts.items())


def footprint(module: nn.Module, forward: Callable[[nn.Module], Tensor], device="cpu") -> Footprint:
    """The footprint of `forward(module).backward()`; forward makes its inputs on `device` itself.

    module: its tensors may be on the meta device. UserError where shapes depend on values.
    """
    made_with_values = upsampling, shrinking, kernel_layout  # and kept apart from those without
    for made in made_with_values:
        made.cache_clear()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return _watched(_hollow(module, device), forward)
    except DynamicOutputShapeException as error:
        raise UserError(
            f"The shapes in a step of {type(module).__name__} depend on values ({error.func}), so "
            "it cannot be planned; measure it, or take ConvLoRA's dispatch='fast'."
        ) from error
    finally:
        for made in made_with_values:
            made.cache_clear()


def _watched(twin: nn.Module, forward: Callable) -> Footprint:
    trainable = [p for p in twin.parameters() if p.requires_grad]
    own = [*twin.parameters(), *twin.buffers()]
    with Allocations(own) as seen:
        loss = forward(twin)
        kept = seen.live
        if loss.requires_grad:
            loss.backward()
        del loss
    gradients = size_of(p.grad for p in trainable if p.grad is not None)
    return Footprint(size_of(own), 2 * size_of(trainable), kept, gradients, seen.peak)


def _hollow(module: nn.Module, device) -> nn.Module:
    """The module with tensors that have a shape, a type and a device, and no values."""
    memo = {}
    for p in module.parameters():
        empty = torch.empty(p.shape, dtype=p.dtype, device=device)
        memo[id(p)] = nn.Parameter(empty, requires_grad=p.requires_grad)
    for b in module.buffers():
        memo[id(b)] = torch.empty(b.shape, dtype=b.dtype, device=device)
    return copy.deepcopy(module, memo)


class Allocations(TorchDispatchMode):
    """While it is entered: bytes that operations have allocated and that are alive, and the peak.

    own: tensors that were there before, which do not count.
    """

    def __init__(self, own: Iterable[Tensor]):
        super().__init__()
        self.live = self.peak = 0
        self._known = {t.untyped_storage()._cdata for t in own}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in (t for t in tree_leaves(out) if isinstance(t, Tensor)):
            self._watch(tensor.untyped_storage())
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


def device() -> str:
    """Whose kernels are planned for: those of a GPU, which may keep more, where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def autocast(precision: str, device: str) -> torch.autocast:
    """The region of a forward pass in this precision."""
    known(precision, TYPES, "Unknown precision")
    dtype = TYPES[precision]
    return torch.autocast(torch.device(device).type, dtype, enabled=dtype is not None)


def training_loss(
    model: nn.Module, batch: int, precision: str = "fp32", checkpointing: bool = False, device="cpu"
) -> Tensor:
    """The loss of one step on blank images, as `fit` computes it."""
    side = model.image_size
    images = torch.zeros(batch, 3, side, side, device=device)
    masks = torch.zeros(batch, side, side, dtype=torch.uint8, device=device)
    with autocast(precision, device), checkpointed(model.sam.image_encoder, checkpointing):
        out = model(images)
    return cross_entropy_dice(out.masks.float(), masks) + model.auxiliary_loss()


@dataclass(frozen=True)
class Plan:
    """One setting and what it needs. batch: images held at once; accumulate: parts of a step."""

    model: str
    method: Method
    batch: int
    precision: str
    checkpointing: bool
    need: Footprint
    accumulate: int = 1

    def __str__(self) -> str:
        parts = f" x {self.accumulate}" if self.accumulate > 1 else ""
        sparing = ", checkpointing" if self.checkpointing else ""
        blocks = getattr(self.method, "blocks", "all")
        where = f", blocks={blocks!r}" if blocks != "all" else ""
        how = f"batch {self.batch}{parts}, {self.precision}{sparing}{where}"
        return f"{how}: {self.need.peak / 1e9:.2f} GB"


def plan(
    model: str, method: Method, batch: int = 8, precision: str = "fp32", checkpointing: bool = False
) -> Plan:
    """What a training step of `fit` needs, decoder, loss and AdamW's states included.

    model: a name for load_sam, here of random weights. The kernels are those of the CPU, or of CUDA
    where it is there. UserError for unknown names, for a batch without an image, and for methods
    whose shapes depend on the images.
    """
    if batch < 1:
        raise UserError(f"A batch of {batch} holds no image; take at least 1.")
    known(model, BUILDERS, "There is no model")
    with torch.device("meta"):
        sam = BUILDERS[model]().eval().requires_grad_(False)
        if model != "sam_nano":
            fuse(sam.image_encoder)
    how = batch, precision, checkpointing, device()
    need = footprint(adapt(sam, method).train(), lambda m: training_loss(m, *how), device())
    return Plan(model, method, batch, precision, checkpointing, need)


def propose(asked: Plan, card: float) -> Plan:
    """The first setting of `knobs` of which a step's images, held one after another if need be,
    fit into `card` gigabytes; UserError with the least of them where none fits."""
    found = []
    for method, precision, checkpointing in knobs(asked):
        for parts in (n for n in range(1, asked.batch + 1) if asked.batch % n == 0):
            setting = asked.batch // parts, precision, checkpointing
            found.append(replace(plan(asked.model, method, *setting), accumulate=parts))
            if found[-1].need.peak <= card * 1e9 * ROOM:
                return found[-1]
    least = min(found, key=lambda p: p.need.peak)
    raise UserError(
        f"Nothing fits into {card:g} GB: the least is {least}; take a larger card or a smaller "
        "model."
    )


def knobs(asked: Plan) -> Iterator[tuple[Method, str, bool]]:
    """Method, precision and checkpointing from what was asked to what takes least, what changes
    the result last."""
    halved = "bf16" if asked.precision == "fp32" else asked.precision
    ways = [(p, c) for p in (asked.precision, halved) for c in (asked.checkpointing, True)]
    yield from ((asked.method, *way) for way in dict.fromkeys(ways))
    if getattr(asked.method, "blocks", None) == "all":
        late = replace(asked.method, blocks="late-4")
        yield from dict.fromkeys((late, halved, c) for c in (asked.checkpointing, True))
