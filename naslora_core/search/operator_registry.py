"""The registry of candidate operators: names, sets, and the hash of what they compute."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.errors import UserError, fault, known

REGISTRY: dict[str, type["Operator"]] = {}
LINEAR = "none skip conv_1x1 conv_3x3 conv_5x5 dil_conv_3x3 sep_conv_3x3 sep_conv_5x5 avg_pool_3x3"
OPERATOR_SETS: dict[str, tuple[str, ...]] = {"linear": tuple(LINEAR.split())}


def operator(name: str) -> Callable[[type["Operator"]], type["Operator"]]:
    """Register a class: it then appears in search, genotype, plots and cost tables.

    Raises UserError for a name that another class has; the same class may be defined again, as
    when a notebook's cell runs twice.
    """

    def register(cls: type["Operator"]) -> type["Operator"]:
        there = REGISTRY.get(name, cls)
        if (there.__module__, there.__qualname__) != (cls.__module__, cls.__qualname__):
            given = f"is registered by {there.__module__}.{there.__qualname__}"
            raise fault(f"The operator {name!r}", given, "a new name", "take another")
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
        raise UserError(f"No operator is given; choose from {', '.join(REGISTRY)}.")
    if not isinstance(operators, str):
        return tuple(operators)
    return OPERATOR_SETS[known(operators, OPERATOR_SETS, "Unknown operator set")]


def set_hash(names: Sequence[str]) -> str:
    """Twelve hex digits of the definitions of an ordered operator set, as files hold them."""
    found = [[n, _definition(REGISTRY[known(n, REGISTRY, "Unknown operator")])] for n in names]
    return _digest(json.dumps(found))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def require_operators(
    path, operators: str | Sequence[str], recorded: str, by_name: bool = False
) -> None:
    """UserError where the operators of a file are not registered, or defined otherwise than when it
    was written.

    recorded: their `set_hash`, or in files of before (by_name) a hash of their names alone.
    """
    try:
        names = operator_names(operators)
        here = _digest(",".join(names)) if by_name else set_hash(names)
    except UserError:
        here = "not registered"
    if recorded != here:
        given = f"was searched over operators {recorded} ({operators}), which are {here} here"
        remedy = "import their module first (of DARTS: naslora_workbook.research.methods)"
        raise UserError(f"{path} {given}; {remedy}.")


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
    """A map of z `B r H W` to the same shape, of support `side x side`, odd.

    A linear operator is its kernel `r r k k` (out, in, rows, columns). One that is not overrides
    `forward` and leaves `kernel` out.
    """

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

    @classmethod
    def flat_taps(cls, operators: Sequence["Operator"]) -> list[Tensor]:
        """What the kernels of this operator in B cells hold at `seats`, end to end in parts: `B r r
        t` in all; elsewhere they are 0. Override it where all can be computed in one batch.
        """
        return [op.kernel().flatten() for op in operators]

    def seats(self) -> Tensor:
        """Where the taps lie in the kernel, counted row by row: `t` numbers below side^2."""
        return torch.arange(self.side**2)

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


def padded(kernel: Tensor, side: int) -> Tensor:
    """A kernel `... k k` in the middle of zeros, `... side side`."""
    return F.pad(kernel, ((side - kernel.shape[-1]) // 2,) * 4)
