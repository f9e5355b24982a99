"""The candidate operators between LoRA's encoder and decoder, one decorated class each.

A linear operator is its kernel `r r k k` (out, in, rows, columns): the cell mixes kernels and
convolves once. An operator that is not linear overrides `forward` and leaves `kernel` out.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.errors import UserError, known

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
    """Register a class: it then appears in search, genotype, plots and cost tables.

    Raises UserError for a name that another class has; the same class may be defined again, as
    when a notebook's cell runs twice.
    """

    def register(cls: type["Operator"]) -> type["Operator"]:
        there = REGISTRY.get(name, cls)
        if (there.__module__, there.__qualname__) != (cls.__module__, cls.__qualname__):
            raise UserError(
                f"The operator {name!r} of {cls.__qualname__} is registered already, by "
                f"{there.__module__}.{there.__qualname__}; take another name."
            )
        cls.name = name
        REGISTRY[name] = cls
        return cls

    return register


def build(names: Sequence[str], rank: int) -> nn.ModuleList:
    """One operator of every name; UserError for an unknown one."""
    return nn.ModuleList(REGISTRY[known(n, REGISTRY, "Unknown operator")](rank) for n in names)


def operator_names(operators: str | Sequence[str]) -> tuple[str, ...]:
    """The names in a set (by its name), or the names themselves; UserError for an unknown set, or
    for no name at all."""
    if not operators:
        raise UserError(f"No operator is given; choose from {', '.join(OPERATOR_SETS['linear'])}.")
    if not isinstance(operators, str):
        return tuple(operators)
    return OPERATOR_SETS[known(operators, OPERATOR_SETS, "Unknown operator set")]


def set_hash(names: Sequence[str]) -> str:
    """Twelve hex digits of the definitions of an ordered operator set, as files hold them."""
    told = [[n, _definition(REGISTRY[known(n, REGISTRY, "Unknown operator")])] for n in names]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


@cache
def _definition(cls: type["Operator"]) -> list:
    """What an operator of rank 2 computes: its field, the shapes of its parameters, and its kernel
    (or its answer to one map) where these hold multiples of 1/8."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
        op = cls(2).double().eval()
        for p in op.parameters():
            p.copy_((torch.arange(p.numel()) * 5 % 11 - 4).view_as(p) / 8)
        z = (torch.arange(2 * 7 * 7) * 7 % 17 - 8).view(1, 2, 7, 7).double() / 8
        computed = op.kernel() if op.linear else op(z)
    shapes = [[n, list(p.shape)] for n, p in op.named_parameters()]
    return [cls.side, shapes, [round(v, 3) + 0.0 for v in computed.flatten().tolist()]]


class Operator(nn.Module):
    """A map of z `B r H W` to the same shape, of support `side x side`, odd."""

    name: str
    side: int = 1
    folds_to: str = "one k x k convolution"
    why_unfoldable: str = "is no convolution"  # of one that is not linear

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

    @classmethod
    def flat_taps(cls, operators: Sequence["Operator"]) -> list[Tensor]:
        """The taps of this operator in B cells, end to end in parts: `B r r t` in all.

        Override it where B operators can be computed in one batch.
        """
        return [op.taps().flatten() for op in operators]

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

    @classmethod
    def flat_taps(cls, operators: Sequence[Operator]) -> list[Tensor]:
        return [operators[0].taps().flatten()] * len(operators)


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
        # K[o, i] = P[o, i] D[i]
        return self.pointwise * self.depthwise[:, 0]

    @classmethod
    def flat_taps(cls, operators: Sequence[Operator]) -> list[Tensor]:
        P = torch.stack([op.pointwise for op in operators])  # B r r 1 1
        D = torch.stack([op.depthwise for op in operators])  # B r 1 k k
        return [(P * D[:, None, :, 0]).flatten()]

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
