"""What a method costs in the encoder: step, inference, memory for backward, beside LoRA's.

    python -m naslora_core bench

Every number comes from one run in which the methods take turns, so that a machine that slows down
slows all of them. The floor is a frozen forward with the backward to its input: what no method
that lives inside the encoder can avoid.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from naslora_core.adapters.method import Method, frozen_twin
from naslora_core.adapters.methods import METHODS
from naslora_core.sam import build_nano
from naslora_core.sam.sam_nano import ImageEncoderViT

FLOOR, REFERENCE = "floor", "lora"
Clock = Callable[[], float]  # seconds
SIZES = {"nano": 8, "vit_b": 1}  # images a batch; of ViT-B two blocks at 1024 pixels


def build(size: str) -> nn.Module:
    """Random weights: all of nano, or one windowed and one global ViT-B block at 1024 pixels."""
    if size == "nano":
        return build_nano().eval().requires_grad_(False)
    real = {"embed_dim": 768, "num_heads": 12, "depth": 2, "window_size": 14, "qkv_bias": True}
    model = nn.Module()
    model.image_encoder = ImageEncoderViT(**real, use_rel_pos=True, global_attn_indexes=(1,))
    return model.eval().requires_grad_(False)


def measure(
    size: str, names: Sequence[str], rounds: int = 9, batch: int = 8, device: str = "cpu"
) -> dict[str, dict[str, float]]:
    """A row a method: milliseconds a step and an inference (median), ratios, bytes for backward."""
    sam = build(size).to(device)
    side = sam.image_encoder.img_size
    images = torch.randn(batch, 3, side, side, device=device)
    encoders = {name: encoder_with(sam, METHODS.get(name)) for name in (FLOOR, *names)}
    work = {("step", n): partial(step, e, images, n) for n, e in encoders.items()}
    work |= {("inference", n): partial(infer, e, images) for n, e in encoders.items()}
    times = interleaved(work, rounds, device)
    rows = {n: _row(n, times) | {"saved_mb": saved_mb(e, images, n)} for n, e in encoders.items()}
    return {n: row | {"parameters": _count(encoders[n])} for n, row in rows.items()}


def encoder_with(sam: nn.Module, method: Method | None) -> nn.Module:
    """A twin of a frozen image encoder with a method in it; without one, the floor."""
    twin = frozen_twin(sam).image_encoder
    if method is None:
        return twin
    return (method.inject(twin) or twin).to(next(twin.parameters()))


def step(encoder: nn.Module, images: Tensor, name: str) -> None:
    """Forward and backward of an arbitrary loss; the floor's gradient goes to its input."""
    encoder.train()
    out = encoder(images.requires_grad_(name == FLOOR))
    images.requires_grad_(False)
    if out.requires_grad:
        out.square().mean().backward()
    encoder.zero_grad(set_to_none=True)


@torch.no_grad()
def infer(encoder: nn.Module, images: Tensor) -> None:
    """A forward pass that keeps nothing for backward."""
    encoder.eval()(images)


def interleaved(
    work: dict, rounds: int, device: str = "cpu", clock: Clock = time.perf_counter
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


def milliseconds(
    call: Callable[[], object], device: str = "cpu", clock: Clock = time.perf_counter
) -> float:
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


def _row(name: str, times: dict) -> dict[str, float]:
    row = {}
    for kind in ("step", "inference"):
        found = summary(times[kind, name], times[kind, REFERENCE])
        row |= {f"{kind}_{key}": value for key, value in found.items()}
    return row


def summary(mine: Sequence[float], reference: Sequence[float]) -> dict:
    """Median milliseconds, and the ratios of each turn's pair: median, lowest and highest.

    interval: where the median lies. The spread says what single turns did, and more turns can
    only widen it.
    """
    ratios = [a / b for a, b in zip(mine, reference, strict=True)]
    return {
        "ms": round(statistics.median(mine), 2),
        "ratio": round(statistics.median(ratios), 4),
        "spread": [round(min(ratios), 4), round(max(ratios), 4)],
        "interval": [round(end, 4) for end in median_interval(ratios)],
    }


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Where 95 % of medians lie when the values are drawn again, with replacement."""
    drawn = np.random.default_rng(0).choice(np.asarray(values, float), (10_000, len(values)))
    low, high = np.quantile(np.median(drawn, 1), [0.025, 0.975])
    return float(low), float(high)


def saved_mb(encoder: nn.Module, images: Tensor, name: str) -> float:
    """Megabytes that a step keeps for its backward pass, parameters and input not counted.

    Exact: every saved tensor's storage once, seen by saved-tensor hooks.
    """
    known = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    known |= {b.untyped_storage().data_ptr() for b in encoder.buffers()}
    known.add(images.untyped_storage().data_ptr())
    found, kept = {}, []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)  # alive, so that no address is used twice
        return tensor

    with saved_tensors_hooks(pack, lambda t: t):
        _ = encoder.train()(images.requires_grad_(name == FLOOR))
    images.requires_grad_(False)
    return round(sum(found.values()) / 2**20, 3)


def _count(encoder: nn.Module) -> int:
    return sum(p.numel() for p in encoder.parameters() if p.requires_grad)


def as_table(size: str, rows: dict[str, dict]) -> str:
    """The rows as text, ratios first."""
    head = f"{size:>14}  parameters     step (ms)  of LoRA   inference  of LoRA  saved MB"
    lines = [
        f"{name:>14}  {r['parameters']:>10}  {r['step_ms']:>12.1f}  {r['step_ratio']:>7.3f}"
        f"  {r['inference_ms']:>10.1f}  {r['inference_ratio']:>7.3f}  {r['saved_mb']:>8.2f}"
        for name, r in rows.items()
    ]
    return "\n".join([head, *lines])
