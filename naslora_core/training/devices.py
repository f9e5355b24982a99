"""Where a run computes, in which precision, and what to do when memory runs out."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from naslora_core.errors import UserError, known

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # of forward passes
LACK = ("can't allocate memory", "not enough memory", "out of memory")  # in a RuntimeError
INPUTS = 0.12  # share of what a step keeps that is kept beside the blocks' insides (nano, LoRA)


def known_precision(name: str, device: torch.device) -> torch.dtype | None:
    """The type in which forward passes compute, None for the weights' own; UserError for an unknown
    name, and for fp16 without a GPU."""
    known(name, PRECISIONS, "Unknown precision")
    if name == "fp16" and device.type == "cpu":
        raise UserError("precision 'fp16' needs a GPU, this run is on the cpu; take bf16 or fp32.")
    return PRECISIONS[name]


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
    everywhere = depth and getattr(model.method, "blocks", None) == "all"
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
