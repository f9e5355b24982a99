"""Which operators there are: by name, in sets, and what an ordered set is called in files.

The candidate operators between LoRA's encoder and decoder, one decorated class each.

A linear operator is its kernel `r r k k` (out, in, rows, columns): the cell mixes kernels and
convolves once. An operator that is not linear overrides `forward` and leaves `kernel` out.
"""

import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.errors import UserError, known

if TYPE_CHECKING:
    from naslora_core.search.operators import Operator

REGISTRY: dict[str, type["Operator"]] = {}
OPERATOR_SETS: dict[str, tuple[str, ...]] = {
    "linear": (
        "none",
        "skip",
        "conv_1x1",
        "conv_3x3",
        "conv_5x5",
        "dil_conv_3x3",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "avg_pool_3x3",
    )
}


def operator(name: str) -> Callable[[type["Operator"]], type["Operator"]]:
    """Enter a class into the registry: it then appears in search, genotype, plots and tables."""

    def enter(cls: type["Operator"]) -> type["Operator"]:
        cls.name = name
        REGISTRY[name] = cls
        return cls

    return enter


def build(names: tuple[str, ...], rank: int) -> nn.ModuleList:
    """One operator of every name; UserError for an unknown one."""
    unknown = [n for n in names if n not in REGISTRY]
    if unknown:
        raise UserError(f"Unknown operator {unknown[0]!r}; registered are {', '.join(REGISTRY)}.")
    return nn.ModuleList(REGISTRY[n](rank) for n in names)


def operator_names(operators: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names in a set (by its name), or the names themselves; UserError for an unknown set, or
    for no name at all."""
    if not operators:
        raise UserError(f"No operator is given; choose from {', '.join(OPERATOR_SETS['linear'])}.")
    if not isinstance(operators, str):
        return tuple(operators)
    return OPERATOR_SETS[known(operators, OPERATOR_SETS, "Unknown operator set")]


def set_hash(names: tuple[str, ...]) -> str:
    """Twelve hex digits that name an ordered operator set in files."""
    return hashlib.sha256(",".join(names).encode()).hexdigest()[:12]


class Operator(nn.Module):
    """A map of z `B r H W` to the same shape, of support `side x side`, odd."""

    name: str
    side: int = 1
    folds_to: str = "one k x k convolution"
    why_unfoldable: str = "is no convolution"  # why one that is not linear cannot fold

    def __init__(self, rank: int):
        super().__init__()
        self.rank = rank

    @property
    def linear(self) -> bool:
        """Whether the operator is a convolution with the kernel that `kernel` returns."""
        return type(self).kernel is not Operator.kernel

    def kernel(self) -> Tensor:
        """The kernel `r r side side`; only of linear operators."""
        raise NotImplementedError(f"{self.name} is not linear: it has no kernel")

    def forward(self, z: Tensor) -> Tensor:
        return F.conv2d(z, self.kernel(), padding=self.side // 2)

    def taps(self) -> Tensor:
        """What the kernel holds at `seats`, `r r t`; elsewhere it is 0."""
        return self.kernel().flatten(2)

    def seats(self) -> Tensor:
        """Where the taps lie in the kernel, counted row by row: `t` numbers below side^2."""
        return torch.arange(self.side**2)

    def start_at_identity(self) -> None:
        """Set learnable weights so that the operator copies its input, where it can."""

    def take(self, kernel: Tensor) -> None:
        """Set learnable weights so that the operator has this kernel, one that it can have."""

    def macs(self) -> int:
        """Multiply-adds per token."""
        return 0


def identity(rank: int, side: int = 1) -> Tensor:
    """The kernel that copies its input: 1 at the centre of every channel's own kernel."""
    kernel = torch.zeros(rank, rank, side, side)
    kernel[range(rank), range(rank), side // 2, side // 2] = 1
    return kernel


class Fixed(Operator):
    """An operator without parameters: its kernel is a constant."""

    def __init__(self, rank: int):
        super().__init__(rank)
        self.register_buffer("constant", self.define(rank), persistent=False)

    def define(self, rank: int) -> Tensor:
        raise NotImplementedError

    def kernel(self) -> Tensor:
        return self.constant


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

    def taps(self) -> Tensor:
        return self.weight.flatten(2)

    def seats(self) -> Tensor:
        grid = super().seats().view(self.side, self.side)
        return grid[:: self.dilation, :: self.dilation].flatten()

    def start_at_identity(self) -> None:
        self.weight.data.copy_(identity(self.rank, self.width))

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
        return self.pointwise * self.depthwise[:, 0]

    def start_at_identity(self) -> None:
        self.depthwise.data.copy_(identity(1, self.side).expand(self.rank, -1, -1, -1))
        self.pointwise.data.copy_(identity(self.rank))

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
