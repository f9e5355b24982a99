"""What a gate does in a model: the expert of every window, and what happens if one has it all."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from naslora_core.adapters.conv_lora import Gate
from naslora_workbook.figures.tokens import listening


def _gates(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, Gate)]


@torch.no_grad()
def qkv_inputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    """What every block's qkv receives, `B' H W d`; model: a Segmenter, images `B 3 S S` in 0..255.

    Windowed blocks have B' = windows times B.
    """
    seen: list[Tensor] = []
    layers = [block.attn.qkv for block in model.sam.image_encoder.blocks]
    with listening(layers, lambda _, x, y: seen.append(x[0])):
        model.encode(model.preprocess(images))
    return seen


@torch.no_grad()
def chosen_experts(model: nn.Module, images: Tensor) -> list[Tensor]:
    """The expert 1..M that each gate likes best, `B rows columns` of windows, block by block.

    In the model's present mode: with noise in training, without in eval.
    """
    seen: list[Tensor] = []
    with listening(_gates(model), lambda _, z, out: seen.append(out[0][:, 0] + 1)):
        model(images)
    return [s.view(len(images), math.isqrt(len(s) // len(images)), -1) for s in seen]


@contextmanager
def one_expert(model: nn.Module, number: int) -> Iterator[None]:
    """Inside, every window of every block goes to expert `number` (1..M), whatever gates say."""
    with listening(_gates(model), lambda _, z, out: (0 * out[0] + number - 1, out[1])):
        yield
