"""How fast this machine is, from a few seconds of products, sums, two real blocks, a real decoder.

A footprint's flops and bytes become seconds by two rates; what these miss is a factor for the
blocks of an encoder, another for decoder and loss, and a time for every operation, all measured on
the parts of the model at hand.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from naslora_workbook.research.benchmark import milliseconds
from naslora_workbook.research.footprint import Footprint, footprint
from naslora_workbook.research.planned_step import TYPES, autocast, hollow_sam, tail, training_loss

TOKENS = 2048  # in about so many a step is calibrated: a small model's few would fit into caches


@dataclass(frozen=True)
class Calibration:
    """Seconds a flop, a byte and an operation take; factors of the first two in an encoder's
    blocks, and in decoder and loss."""

    flop: float
    byte: float
    operation: float
    encoder: float = 1.0
    decoder: float = 1.0

    def seconds(self, need: Footprint, end: Footprint | None = None) -> float:
        """What a step of this footprint takes; end: the part of it that is decoder and loss."""
        ending = self.computing(end) if end else 0.0
        computing = self.encoder * (self.computing(need) - ending) + self.decoder * ending
        return computing + need.operations * self.operation

    def computing(self, need: Footprint) -> float:
        """Its flops and bytes by the rates alone."""
        return need.flops * self.flop + need.traffic * self.byte


def calibrate(model: str, precision: str = "fp32", device: str = "cpu") -> Calibration:
    """The rates of this machine for a model of BUILDERS; takes seconds, on a CPU more for vit_*."""
    rates = _with_decoder(_rates(precision, device), model, precision, device)
    blocks, shape = _blocks(model)
    need = footprint(blocks, lambda b: _pass(b, shape, precision, device), device)
    real = _filled(blocks, device)
    taken = seconds(lambda: _pass(real, shape, precision, device).backward(), device, 3)
    computing = max(taken - need.operations * rates.operation, 0.0)
    return replace(rates, encoder=computing / rates.computing(need))


def _with_decoder(rates: Calibration, model: str, precision: str, device: str) -> Calibration:
    """The rates with the decoder's factor f and the time o of an operation, from two batches:
    t = f computing + o operations, where a batch has more to compute in the same operations."""
    batches = 1, max(2, images_of(model))
    needs = [tail_footprint(model, batch, precision, device) for batch in batches]
    real = _filled(tail(model), device)
    optimiser = torch.optim.AdamW(p for p in real.parameters() if p.requires_grad)

    def step(batch: int):
        training_loss(real, batch, precision, device=device).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    few, more = (seconds(lambda b=batch: step(b), device) for batch in batches)
    small, large = (rates.computing(need) for need in needs)
    factor = min(max((more - few) / (large - small), 0.0), few / small)  # o is not below 0
    operation = (few - factor * small) / needs[0].operations
    return replace(rates, operation=operation, decoder=factor)


def images_of(model: str) -> int:
    """Images with about TOKENS tokens, at least one."""
    h, w = hollow_sam(model).prompt_encoder.image_embedding_size
    return max(1, TOKENS // (h * w))


def tail_footprint(model: str, batch: int, precision: str, device: str) -> Footprint:
    """What decoder and loss of a step need."""
    step = tail(model)
    return footprint(step, lambda m: training_loss(m, batch, precision, device=device), device)


def _filled(hollow: nn.Module, device: str) -> nn.Module:
    """The module on a device, its weights small random numbers."""
    real = hollow.to_empty(device=device)
    with torch.no_grad():
        for tensor in (*real.parameters(), *real.buffers()):
            tensor.normal_(std=0.02)
    return real


def _blocks(model: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The first windowed and the first global block, and the shape of its tokens."""
    encoder = hollow_sam(model).image_encoder
    first = {b.window_size == 0: b for b in reversed(encoder.blocks)}
    shape = (images_of(model), *encoder.pos_embed.shape[1:])
    return nn.Sequential(first[False], first[True]), shape


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
    return Calibration(product / (2 * n**3), summed / (3 * large.nbytes), 0.0)


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
