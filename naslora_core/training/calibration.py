"""How fast this machine is, from a second of products, sums, tiny layers and two real blocks.

A footprint's flops, bytes and operations become seconds by three rates; a factor of the first two
takes up what they miss, as measured on one windowed and one global block of the model at hand.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from naslora_core.errors import UserError
from naslora_core.sam import fuse
from naslora_core.sam.registry import BUILDERS
from naslora_core.training.benchmark import milliseconds
from naslora_core.training.footprint import Footprint, footprint

TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Calibration:
    """Seconds a flop, a byte and an operation take; factor: of real blocks' flops and bytes."""

    flop: float
    byte: float
    operation: float
    factor: float = 1.0

    def seconds(self, need: Footprint) -> float:
        """What a step of this footprint takes."""
        return self.factor * self.computing(need) + need.operations * self.operation

    def computing(self, need: Footprint) -> float:
        """Its flops and bytes by the rates alone."""
        return need.flops * self.flop + need.traffic * self.byte


def calibrate(model: str, precision: str = "fp32", device: str = "cpu") -> Calibration:
    """The rates of this machine for a model of BUILDERS; takes seconds, on a CPU more for vit_*."""
    rates = _rates(precision, device)
    blocks, shape = _blocks(model)
    need = footprint(blocks, lambda b: _pass(b, shape, precision, device), device)
    real = blocks.to_empty(device=device)
    with torch.no_grad():
        for p in real.parameters():
            p.normal_(std=0.02)

    def step():
        _pass(real, shape, precision, device).backward()

    computing = seconds(step, device, 2) - need.operations * rates.operation
    return replace(rates, factor=max(computing, 0.0) / rates.computing(need))


def autocast(precision: str, device: str) -> torch.autocast:
    """The region of a forward pass in this precision."""
    if precision not in TYPES:
        raise UserError(f"Unknown precision {precision!r}; choose one of {', '.join(TYPES)}.")
    dtype = TYPES[precision]
    return torch.autocast(torch.device(device).type, dtype, enabled=dtype is not None)


def hollow_sam(model: str) -> nn.Module:
    """A SAM of BUILDERS as `load_sam` makes it, on the meta device: shapes without values."""
    if model not in BUILDERS:
        raise UserError(f"There is no model {model!r}; choose one of {', '.join(BUILDERS)}.")
    with torch.device("meta"):
        sam = BUILDERS[model]().eval().requires_grad_(False)
    if model != "sam_nano":
        fuse(sam.image_encoder)
    return sam


def _blocks(model: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The first windowed and the first global block, and the shape of one image's tokens."""
    encoder = hollow_sam(model).image_encoder
    first = {b.window_size == 0: b for b in reversed(encoder.blocks)}
    return nn.Sequential(first[False], first[True]), tuple(encoder.pos_embed.shape)


def _pass(blocks: nn.Module, shape: tuple[int, ...], precision: str, device: str) -> Tensor:
    tokens = torch.zeros(shape, device=device).requires_grad_(True)
    with autocast(precision, device):
        out = blocks(tokens)
    return out.float().square().mean()


def _rates(precision: str, device: str) -> Calibration:
    dtype, n = TYPES[precision] or torch.float32, 1024
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    large = torch.randn(2**22, device=device)
    product = seconds(lambda: a @ b, device)
    summed = seconds(lambda: large + large, device)
    return Calibration(product / (2 * n**3), summed / (3 * large.nbytes), _operation(device))


def _operation(device: str) -> float:
    """Seconds an operation takes beside what it computes: of layers too small to compute much."""
    layers = [m for _ in range(40) for m in (nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU())]
    tiny = nn.Sequential(*layers).to(device)
    need = footprint(tiny, lambda m: m(torch.zeros(1, 8, device=device)).sum(), device)
    x = torch.zeros(1, 8, device=device)
    return seconds(lambda: tiny(x).sum().backward(), device) / need.operations


def seconds(
    call: Callable[[], object], device: str = "cpu", rounds: int = 5, warm: bool = True
) -> float:
    """Median seconds of a call, after one more that warms up; in one thread of a CPU its own time,
    so that what else runs on the machine counts less."""
    clock = time.perf_counter
    if device == "cpu" and torch.get_num_threads() == 1:
        clock = time.process_time
    found = [milliseconds(call, device, clock) / 1000 for _ in range(rounds + warm)]
    return statistics.median(found[warm:])
