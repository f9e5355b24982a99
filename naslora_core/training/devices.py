"""Where a run computes: one process or many, on CPUs or GPUs, through Lightning Fabric.

No DistributedDataParallel around the model: it fixes at the start which parameters have gradients,
and a stage-wise search freezes and releases alpha. What an adapter trains is small, so after the
backward pass its gradients are averaged in one call.
"""

import logging
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from naslora_core.errors import UserError, known

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
LACK = ("can't allocate memory", "not enough memory", "out of memory")  # in a RuntimeError
INPUTS = 0.12  # share of what a step keeps that is kept beside the blocks' insides (nano, LoRA)


def launch(devices: int = 1, precision: str = "fp32", accelerator: str = "auto"):
    """A Lightning Fabric of `devices` processes on this machine; each goes on from here.

    precision: of forward passes, "fp32", "bf16" or "fp16" (GPU alone, scaled); accelerator: "auto",
    "cpu", "cuda". Raises UserError for what is not there.
    """
    strategy = "ddp" if devices > 1 else "auto"
    fabric = _fabric(precision, known_device(accelerator).type, devices, strategy=strategy)
    fabric.launch()
    return fabric


def single_process(device: torch.device, precision: str = "fp32"):
    """A Lightning Fabric of this process alone, on the device where the model is."""
    where = [device.index or 0] if device.type == "cuda" else 1
    return _fabric(precision, device.type, devices=where)


def _fabric(precision: str, accelerator: str, devices: int | list[int], **how):
    known(precision, PRECISIONS, "Unknown precision")
    if precision == "fp16" and accelerator == "cpu":
        raise UserError("precision 'fp16' needs a GPU, this run is on the cpu; take bf16 or fp32.")
    there = torch.cuda.device_count()
    if accelerator == "cuda" and isinstance(devices, int) and devices > there:
        raise UserError(f"{devices} GPUs are asked for, {there} are here; give --devices {there}.")
    from lightning_fabric import Fabric  # importing it takes two seconds

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it names every start
    return Fabric(accelerator=accelerator, devices=devices, precision=PRECISIONS[precision], **how)


def known_device(name: str) -> torch.device:
    """The device of this name, "auto" a GPU where there is one, a numbered GPU from now on the
    current one; UserError for one that is not."""
    auto = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(auto if name == "auto" else name)
    except RuntimeError as error:
        raise UserError(f"Unknown device {name!r}; give --device cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device here; give --device cpu, or go where one is.")
    if device.index is not None and device.type == "cuda":
        if device.index >= (there := torch.cuda.device_count()):
            raise UserError(f"There is no {name} here, the highest is cuda:{there - 1}; give that.")
        torch.cuda.set_device(device)  # memory and time are asked of the current one
    return device


def average_gradients(fabric, parameters: Sequence[Tensor]) -> None:
    """Replace every gradient by its mean over the processes; one that is not there counts as 0."""
    if fabric.world_size == 1 or not parameters:
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="mean")
    for p, mean in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.grad = mean.view_as(p).clone()


def peak_mb(device: torch.device | None = None) -> float:
    """Peak memory so far, megabytes: allocated on a GPU, else resident of this process; nan on
    Windows."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, kilobytes here


@contextmanager
def naming_the_remedy(*held) -> Iterator[None]:
    """Inside, a lack of memory on any device becomes the UserError of `out_of_memory`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # PyTorch's own is a RuntimeError
        lack = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if lack or any(words in str(error) for words in LACK):
            raise out_of_memory(*held) from error
        raise


def out_of_memory(
    model: nn.Module, images: int, batch: int, precision: str, checkpointing: bool = False
) -> UserError:
    """What to do, the most effective knob first, each with what it leaves of the activations.

    images: that this process holds at once, of the `batch` that it has in a step. Blocks before the
    first adapted one keep nothing for the backward pass.
    """
    encoder = getattr(getattr(model, "sam", None), "image_encoder", None)
    depth = len(encoder.blocks) if encoder is not None else 0
    everywhere = depth > 4 and getattr(model.method, "blocks", None) == "all"
    share = 1 / max(depth, 1)  # of one block
    knobs = [  # what is left, whether it is to be had, what to do
        (1 / images, images > 1, f"accumulate={batch} (one image at a time, a third more time)"),
        (4 * share, everywhere, "blocks='late-4' in the method (the last four blocks)"),
        (INPUTS + share, depth and not checkpointing, "checkpointing=True (a third more time)"),
        (0.5, precision == "fp32", "precision='bf16' (or 'fp16' on older GPUs)"),
    ]
    listed = "; ".join(f"{do}: about {left:.0%} of it" for left, fits, do in sorted(knobs) if fits)
    return UserError(
        f"Out of memory with {images} image(s) of {model.image_size} pixels held at once in "
        f"{precision}; the last saved state is kept. Try {listed or 'a smaller model'}."
    )
