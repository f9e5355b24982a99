"""The methods by name, and `adapt(sam, method)`: a frozen base, and beside it what is trained.

The adapted model shares the storage of every frozen tensor with `sam`, which is never changed; so
one base carries many adapters, each at the cost of what it trains.
"""

import copy
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Protocol

import torch
from torch import Tensor, nn

from naslora_core.data import IGNORE
from naslora_core.data.tiles import OBJECTS, checked_side
from naslora_core.data.transforms import RESIZES
from naslora_core.errors import UserError, fault, known, number
from naslora_core.sam import MaskHead, MatchedHead, Segmenter, model_hash

Blocks = str | tuple[int, ...]


class Method(Protocol):
    """A frozen dataclass of a method's settings that knows how to enter an encoder."""

    def inject(self, encoder: nn.Module) -> nn.Module | None:
        """Wrap modules of a frozen image encoder; what is new is trained. What stands beside the
        whole encoder returns the module that takes its place."""


METHODS: dict[str, Method] = {}  # by name, with the settings at which methods are compared
LABELS: dict[str, str] = {}  # what tables call each of METHODS
CLASSES: dict[str, type] = {}  # by the name of the class, which adapter files hold


def method(name: str, label: str, compared: bool = True) -> Callable[[type], type]:
    """Register a frozen dataclass with `inject`: command line, files, tables and tests follow.

    compared: whether it stands in METHODS. Raises UserError for a name or a label that is taken,
    and for a class name that is; the same class may be defined again, as in a notebook.
    """

    def register(cls: type) -> type:
        there = CLASSES.get(cls.__name__)
        again = there is not None and there.__module__ == cls.__module__
        if not again and (there or name in METHODS or label in LABELS.values()):
            given = f"has a name, a label ({label}) or a class name ({cls.__name__}) that is taken"
            remedy = f"take others than those of {', '.join(METHODS)}"
            raise fault(f"The method {name!r}", given, "new ones", remedy)
        CLASSES[cls.__name__] = cls
        if compared:
            METHODS[name], LABELS[name] = cls(), label
        return cls

    return register


class Adapted(Segmenter):
    """A Segmenter whose encoder carries an adapter and whose decoder is trained beside it."""

    def __init__(self, sam: nn.Module, head: nn.Module, method, base_hash: str, seed: int):
        super().__init__(sam, head)
        self.method, self.base_hash, self.seed = method, base_hash, seed
        self.base_name = getattr(sam, "model_name", "unnamed")
        self.trained_names = tuple(n for n, p in self.named_parameters() if p.requires_grad)

    @property
    def classes(self) -> int:
        """Foreground classes."""
        return self.head.classes

    def trainable(self) -> dict[str, Tensor]:
        """Every parameter that is not the base's, name by name."""
        return {n: self.get_parameter(n) for n in self.trained_names}

    def adapter_state_dict(self) -> dict[str, Tensor]:
        """What an adapter file holds: `trainable()`, and what cells keep beside (batch statistics),
        every tensor the model's own."""
        parameters = {n for n, _ in self.named_parameters(remove_duplicate=False)}
        state = self.sam.image_encoder.state_dict(prefix="sam.image_encoder.")
        return self.trainable() | {n: t for n, t in state.items() if n not in parameters}

    def auxiliary_loss(self) -> Tensor | float:
        """What the method adds to the task's loss after a forward pass in training; mostly 0."""
        parts = (m for m in self.sam.image_encoder.modules() if hasattr(m, "auxiliary_loss"))
        return sum(part.auxiliary_loss for part in parts)


HEADS = {"plain": MaskHead, "matched": MatchedHead}


def head_name(head: nn.Module) -> str:
    """The key of HEADS that made a head."""
    return next(name for name, kind in HEADS.items() if type(head) is kind)


def adapt(
    sam: nn.Module,
    method: Method,
    classes: int = 1,
    seed: int = 0,
    head: str = "plain",
    resize: str = "square",
    tile: int | None = None,
    tile_objects: float = OBJECTS,
) -> Adapted:
    """A model that equals `sam` before its first step (VPT's does not) and trains the method's
    tensors.

    Trained beside every method: the mask decoder; frozen: prompt encoder and IoU head. head:
    "plain" or "matched", see `sam.mask_head`. seed: new tensors are drawn from it on the CPU,
    whatever the global state and the device. resize: how images come to the square, "square" or,
    SAM's own way, "pad"; or, with tile, as pieces of so many of their pixels a side, of which in
    training the share `tile_objects` holds an object (see `data.tiles`). A base on the meta device
    allocates nothing: it is there to be counted. Raises UserError for an unknown head, for what is
    no method or no base, and what the method's `inject` raises.
    """
    _require_method_and_base(sam, method)
    known(head, HEADS, "Unknown head")
    known(resize, RESIZES, "resize is")
    number("classes", classes, 1, IGNORE - 1)
    number("tile_objects", tile_objects, 0, 1, Real)
    number("seed", seed, 0)
    like = next(sam.parameters())
    base_hash = "meta" if like.is_meta else model_hash(sam)
    twin = frozen_twin(sam)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        twin.image_encoder = method.inject(twin.image_encoder) or twin.image_encoder
        drawing = HEADS[head](sam.mask_decoder, classes)
    twin.image_encoder.to(like.device, like.dtype)
    for part in ("transformer", "output_upscaling", "iou_token"):
        own_parameters(getattr(twin.mask_decoder, part))
    model = Adapted(twin, drawing, method, base_hash, seed).eval()
    model.resize, model.tile, model.tile_objects = resize, checked_side(tile), tile_objects
    return model


def _require_method_and_base(sam: nn.Module, method) -> None:
    """UserError for a method that is a name or a class, and for a base that is none."""
    if isinstance(method, type) or not hasattr(method, "inject"):
        remedy = "call the class, or take a name's from naslora_core.adapters.METHODS"
        raise fault("The method", f"is {method!r}", "an object such as LoRA(rank=4)", remedy)
    if isinstance(sam, Segmenter) or not hasattr(sam, "image_encoder"):
        given, remedy = f"is of class {type(sam).__name__}", "adapt the base anew for every adapter"
        raise fault("The base", given, "SAM itself, from `load_sam`", remedy)


def adapted(model, for_what: str) -> Adapted:
    """The model, if it is from `adapt`; UserError where something else is to be folded or saved."""
    if not isinstance(model, Adapted):
        given, expected = f"has no adapter to {for_what}", "what `adapt` or `load_adapter` returns"
        raise fault(f"A {type(model).__name__}", given, expected, "give that")
    return model


def frozen_twin(sam: nn.Module) -> nn.Module:
    """A copy of the module tree over the same storage, nothing of it trainable."""
    memo = {id(b): b for b in sam.buffers()}
    for p in sam.parameters():
        memo[id(p)] = nn.Parameter(p.detach(), requires_grad=False)
    return copy.deepcopy(sam, memo)


def own_parameters(module: nn.Module) -> None:
    """Give a module its own, trainable tensors."""
    for part in module.modules():
        for name, p in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(p.detach().clone()))


def require_unadapted(module: nn.Module | None, kind, where: str) -> nn.Module:
    """The module, if it is the official class; UserError where an adapter has taken its place."""
    if not isinstance(module, kind):
        raise UserError(f"{where} already carries an adapter; adapt the base instead.")
    return module


def selected(encoder: nn.Module, blocks: Blocks) -> Iterator[tuple[int, nn.Module]]:
    """The transformer blocks of a choice: all, global, windowed, late-4 (the last four), (0, 3)."""
    depth = len(encoder.blocks)
    whole = {i for i, b in enumerate(encoder.blocks) if b.window_size == 0}
    named = {"all": set(range(depth)), "global": whole, "windowed": set(range(depth)) - whole}
    if isinstance(blocks, str) and blocks.startswith("late-") and blocks[5:].isdigit():
        named[blocks] = set(range(max(0, depth - int(blocks[5:])), depth))
    chosen = set(blocks) if isinstance(blocks, tuple | list) else named.get(blocks)
    if not chosen or not chosen <= named["all"]:
        raise UserError(
            f"blocks={blocks!r} selects nothing of this encoder; choose all, global, windowed, "
            f"late-4, or a tuple of numbers from 0 to {depth - 1}."
        )
    return ((i, encoder.blocks[i]) for i in sorted(chosen))
