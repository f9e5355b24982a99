"""The candidate operators between LoRA's encoder and decoder, one decorated class each."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from naslora_core.search.operator_registry import Operator, identity, operator


class Fixed(Operator):
    """An operator without parameters: its kernel is the constant that `define(rank)` returns."""

    def __init__(self, rank: int):
        super().__init__(rank)
        self.register_buffer("constant", self.define(rank), persistent=False)

    def kernel(self) -> Tensor:
        return self.constant

    @classmethod
    def flat_taps(cls, operators: Sequence[Operator]) -> list[Tensor]:
        return [operators[0].kernel().flatten()] * len(operators)


@operator("none")
class Zero(Fixed):
    """No path: 0."""

    folds_to = "nothing"

    def define(self, rank: int) -> Tensor:
        return torch.zeros(rank, rank, 1, 1)


@operator("skip")
class Skip(Fixed):
    """The identity: z."""

    folds_to = "W0"

    def define(self, rank: int) -> Tensor:
        return identity(rank)


@operator("avg_pool_3x3")
class AveragePool(Fixed):
    """The mean over 3 x 3, zero padding counted, so that it is a convolution at the border too."""

    side = 3

    def define(self, rank: int) -> Tensor:
        return identity(rank).expand(-1, -1, 3, 3).clone()

    def kernel(self) -> Tensor:
        return self.constant / 9  # divided here, so that a cell in float64 is exact

    def macs(self) -> int:
        return 9 * self.rank


class Dense(Operator):
    """A full convolution r -> r without bias, `width x width` taps, `dilation` apart."""

    width, dilation = 1, 1

    def __init__(self, rank: int):
        super().__init__(rank)
        self.weight = nn.Parameter(torch.empty(rank, rank, self.width, self.width))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def kernel(self) -> Tensor:
        if self.dilation == 1:
            return self.weight
        spread = self.weight.new_zeros(self.rank, self.rank, self.side, self.side)
        spread[..., :: self.dilation, :: self.dilation] = self.weight
        return spread

    @classmethod
    def flat_taps(cls, operators: Sequence[Operator]) -> list[Tensor]:
        return [op.weight.flatten() for op in operators]

    def seats(self) -> Tensor:
        grid = super().seats().view(self.side, self.side)
        return grid[:: self.dilation, :: self.dilation].flatten()

    def take(self, kernel: Tensor) -> None:
        self.weight.data.copy_(kernel[..., :: self.dilation, :: self.dilation])

    def macs(self) -> int:
        return self.width**2 * self.rank**2


@operator("conv_1x1")
class Conv1(Dense):
    """A linear map of the r channels, token by token."""

    folds_to = "W0"


@operator("conv_3x3")
class Conv3(Dense):
    """A full 3 x 3 convolution."""

    width = side = 3


@operator("conv_5x5")
class Conv5(Dense):
    """A full 5 x 5 convolution: every other linear operator is one of these."""

    width = side = 5


@operator("dil_conv_3x3")
class DilatedConv3(Dense):
    """3 x 3 taps two tokens apart: a 5 x 5 field with nine weights a pair."""

    width, side, dilation = 3, 5, 2


class Separable(Operator):
    """Depthwise then pointwise with nothing between: K[o, i] = P[o, i] D[i]."""

    def __init__(self, rank: int):
        super().__init__(rank)
        self.depthwise = nn.Parameter(torch.empty(rank, 1, self.side, self.side))
        self.pointwise = nn.Parameter(torch.empty(rank, rank, 1, 1))
        for weight in (self.depthwise, self.pointwise):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))

    def kernel(self) -> Tensor:
        # K[o, i] = P[o, i] D[i]
        return self.pointwise * self.depthwise[:, 0]

    @classmethod
    def flat_taps(cls, operators: Sequence[Operator]) -> list[Tensor]:
        P = torch.stack([op.pointwise for op in operators])  # B r r 1 1
        D = torch.stack([op.depthwise for op in operators])  # B r 1 k k
        return [(P * D[:, None, :, 0]).flatten()]

    def take(self, kernel: Tensor) -> None:
        """Of a kernel that mixes no channels: P = I."""
        self.depthwise.data.copy_(kernel.diagonal().movedim(-1, 0)[:, None])
        self.pointwise.data.copy_(identity(self.rank))

    def macs(self) -> int:
        return self.side**2 * self.rank + self.rank**2


@operator("sep_conv_3x3")
class Separable3(Separable):
    """Separable over 3 x 3."""

    side = 3


@operator("sep_conv_5x5")
class Separable5(Separable):
    """Separable over 5 x 5."""

    side = 5
