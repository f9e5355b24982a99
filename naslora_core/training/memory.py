"""How much memory a run took, and what to change when it was too much."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from naslora_core.errors import UserError

INPUTS = 0.12  # share of what a step keeps that is kept beside the blocks' insides (nano, LoRA)


def peak_mb(device: torch.device | None = None) -> float:
    """Peak memory so far, megabytes: allocated on a GPU, else resident of this process; nan on
    Windows, which keeps no such count for us."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, kilobytes here


WORDS = ("can't allocate memory", "not enough memory", "out of memory")  # of a RuntimeError


@contextmanager
def naming_the_remedy(*held) -> Iterator[None]:
    """Inside, a lack of memory on any device becomes the UserError of `out_of_memory`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # PyTorch's own is a RuntimeError
        lack = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if lack or any(words in str(error) for words in WORDS):
            raise out_of_memory(*held) from error
        raise


def out_of_memory(
    model,
    batch: int,
    accumulate: int,
    precision: str,
    checkpointing: bool = False,
    processes: int = 1,
) -> UserError:
    """What to do, the most effective knob first, each with what it leaves of the activations.

    Activations go with the images held at once, with the blocks that keep them for the backward
    pass (those before the first adapted block keep none), and with the bytes of a number.
    """
    held, knobs = batch // accumulate // processes, []
    if held > 1:
        more = f"accumulate={batch // processes} (one image at a time, a third more time)"
        knobs.append((1 / held, more))
    blocks = getattr(getattr(model, "sam", None), "image_encoder", None)
    depth = len(blocks.blocks) if blocks is not None else 0
    if depth and getattr(model.method, "blocks", None) == "all":
        knobs.append((4 / depth, "blocks='late-4' in the method (the last four blocks)"))
    if depth and not checkpointing:  # the inputs of all blocks, and one block in full
        knobs.append(
            (INPUTS + 1 / depth, "checkpointing=True (a third more time, the same gradients)")
        )
    if precision == "fp32":
        knobs.append((0.5, "precision='bf16' (or 'fp16' on older GPUs)"))
    told = "; ".join(f"{what}: about {left:.0%} of it" for left, what in sorted(knobs))
    return UserError(
        f"Out of memory with {held} image(s) of {model.image_size} pixels held at once in "
        f"{precision}; the last saved state is kept. Try {told or 'a smaller model'}."
    )
