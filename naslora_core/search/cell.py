"""The searchable cell: a softmax mixture of operators, computed as ONE convolution.

Convolution is linear in its kernel, so  sum_i a_i (K_i * z) = (sum_i a_i pad(K_i)) * z : pad every
kernel to the largest, mix the kernels, convolve once. The cost of a step then hardly depends on
how many operators are searched. `mix_maps` is the same sum over feature maps, for reading.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.errors import UserError
from naslora_core.search.operators import build, identity, operator_names

STARTS = ("plain", "identity", "beside")


class Cell(nn.Module):
    """z `B r H W` -> the mixture of its operators on z, the same shape (NAS-LoRA, equation 1).

    start: "plain" is the paper's form, random kernels under a softmax, which at first passes only
    1/n of z; "identity" starts every learnable kernel as a copy of z; "beside" keeps a skip outside
    the softmax and scales the mixture by sqrt(n), so that LoRA's own path is whole from the start.
    """

    def __init__(self, rank: int, operators="linear", start: str = "beside"):
        super().__init__()
        if start not in STARTS:
            raise UserError(f"Unknown start {start!r}; choose one of {', '.join(STARTS)}.")
        self.rank, self.start, self.temperature = rank, start, 1.0
        self.names = operator_names(operators)
        self.operators = build(self.names, rank)
        self.arch_alpha = nn.Parameter(torch.zeros(len(self.names)))
        self.register_buffer("eye", identity(rank), persistent=False)
        if start == "identity":
            for op in self.operators:
                op.start_at_identity()

    @property
    def gain(self) -> float:
        """What the mixture is multiplied with: sqrt(n) beside a skip, else 1."""
        return math.sqrt(len(self.names)) if self.start == "beside" else 1.0

    def probabilities(self) -> Tensor:
        """softmax(alpha / temperature), `n`."""
        return (self.arch_alpha / self.temperature).softmax(0)

    def kernel(self) -> Tensor:
        """The effective kernel `r r k k` of all linear operators (and the skip beside them)."""
        weights = self.gain * self.probabilities()
        pairs = [
            (w, op.kernel()) for w, op in zip(weights, self.operators, strict=True) if op.linear
        ]
        mixed = self.eye if self.start == "beside" else torch.zeros_like(self.eye)
        for side in sorted({k.shape[-1] for _, k in pairs}):  # small kernels first, then pad
            ours = [w * k for w, k in pairs if k.shape[-1] == side]
            margin = (side - mixed.shape[-1]) // 2
            mixed = F.pad(mixed, (margin,) * 4) + sum(ours)
        return mixed

    def forward(self, z: Tensor) -> Tensor:
        kernel = self.kernel().to(z.dtype)
        out = F.conv2d(z, kernel, padding=kernel.shape[-1] // 2)
        for w, op in zip(self.probabilities(), self.operators, strict=True):
            if not op.linear:
                out = out + self.gain * w * op(z)
        return out

    def mix_maps(self, z: Tensor) -> Tensor:
        """The readable reference: sum_i a_i O_i(z), every operator on its own."""
        maps = [
            self.gain * w * op(z)
            for w, op in zip(self.probabilities(), self.operators, strict=True)
        ]
        return sum(maps) + (z if self.start == "beside" else 0)
