"""The searchable cell: a softmax mixture of operators, computed as ONE convolution.

Convolution is linear in its kernel, so  sum_i a_i (K_i * z) = (sum_i a_i pad(K_i)) * z : pad every
kernel to the largest, mix the kernels, convolve once. The cost of a step then hardly depends on
how many operators are searched. `mix_maps` is the same sum over feature maps, for reading.

An encoder mixes the kernels of all its cells at once (`mix_together`): the same few operations a
step, whatever its depth. A cell that is called alone mixes its own.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.errors import known
from naslora_core.search.operator_registry import build, identity, operator_names, padded

STARTS = ("plain", "identity", "beside")


class Cell(nn.Module):
    """z `B r H W` -> the mixture of its operators on z, the same shape (NAS-LoRA, equation 1).

    start: "plain" is the paper's form, random kernels under a softmax, which at first passes only
    1/n of z; "identity" starts every learnable kernel as a copy of z; "beside" keeps a skip outside
    the softmax and scales the mixture by sqrt(n), so that LoRA's own path is whole from the start.
    Raises UserError for an unknown start, operator or set.
    """

    def __init__(self, rank: int, operators="linear", start: str = "beside"):
        super().__init__()
        self.rank, self.start = rank, known(start, STARTS, "Unknown start")
        self.names = operator_names(operators)
        self.operators = build(self.names, rank)
        self.arch_alpha = nn.Parameter(torch.zeros(len(self.names)))
        self.fields = tuple(
            (i, op.side, tuple(op.seats().tolist()))
            for i, op in enumerate(self.operators)
            if op.linear
        )
        self.side = max((side for _, side, _ in self.fields), default=1)
        self.mixed: tuple[Tensor, Tensor] | None = None  # by `mix_together`, for one forward pass
        beside = identity(rank, self.side) * (start == "beside")  # r r k k
        self.register_buffer("beside", beside, persistent=False)
        if start == "identity":
            for op in self.operators:
                op.take(identity(rank, op.side))  # where it can

    @property
    def linear(self) -> bool:
        """Whether `kernel` is the whole cell: every operator is a convolution."""
        return all(op.linear for op in self.operators)

    @property
    def why_unfoldable(self) -> str:
        """Which operators are no convolutions, and why; empty if all are."""
        return "; ".join(f"{op.name} {op.why_unfoldable}" for op in self.operators if not op.linear)

    @property
    def gain(self) -> float:
        """What the mixture is multiplied with: sqrt(n) beside a skip, else 1."""
        return math.sqrt(len(self.names)) if self.start == "beside" else 1.0

    def probabilities(self) -> Tensor:
        """softmax(alpha), `n`."""
        return self.arch_alpha.softmax(0)

    def kernel(self) -> Tensor:
        """The effective kernel `r r k k` of all linear operators (and the skip beside them)."""
        return mix([self])[0][0]

    def forward(self, z: Tensor) -> Tensor:
        kernel, weights = self.mixed or (part[0] for part in mix([self]))
        out = F.conv2d(z, kernel.to(z.dtype), padding=self.side // 2)
        if self.linear:
            return out
        pairs = zip(weights.unbind(), self.operators, strict=True)
        return sum((w * op(z) for w, op in pairs if not op.linear), out)

    def mix_maps(self, z: Tensor) -> Tensor:
        """The readable reference: sum_i a_i O_i(z), every operator on its own."""
        pairs = zip(self.probabilities(), self.operators, strict=True)
        maps = [self.gain * a * op(z) for a, op in pairs]
        return sum(maps) + (z if self.start == "beside" else 0)


def mix(cells: Sequence[Cell]) -> tuple[Tensor, Tensor]:
    """Mixed kernels `B r r k k` and weights of the operators `B n` of B cells of one layout.

    The taps of all cells lie end to end in one vector, and one batched product weighs, pads and
    sums them, so the number of operations does not depend on B.
    """
    cell, count, like = cells[0], len(cells), cells[0].beside
    with torch.autocast(like.device.type, enabled=False):
        weights = cell.gain * torch.stack([c.arch_alpha for c in cells]).softmax(1)
        kinds = zip(*(c.operators for c in cells), strict=True)
        flat = [taps for ops in kinds if ops[0].linear for taps in ops[0].flat_taps(ops)]
        if not flat:
            return like.expand(count, *like.shape), weights
        layout = len(cell.names), cell.fields, cell.side, cell.rank, count
        owner, place, order = kernel_layout(*layout, like.device, like.dtype)
        banks = torch.cat(flat).index_select(0, order).view(count, cell.rank**2, -1)  # B rr T
        # sum_i a_i pad(K_i) of every cell as one product: B rr T  @  B T kk
        mixed = banks @ ((weights @ owner)[..., None] * place)
        kernels = mixed.view(count, *like.shape) + like
    if torch.is_autocast_enabled(like.device.type):
        kernels = kernels.to(torch.get_autocast_dtype(like.device.type))
    return kernels, weights


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def kernel_layout(
    n: int, fields: tuple, largest: int, rank: int, count: int, device: torch.device, dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Of T taps, those of all linear operators end to end: whose each is, 0/1 `n T`, where it lies
    in the largest kernel, 0/1 `T kk`, and the order in which all cells' taps become `B rr T`."""
    owner = torch.cat([torch.full((len(seats),), i) for i, _, seats in fields])
    # row t of eye(side^2) is a kernel with tap t alone
    alone = {side: torch.eye(side**2).view(-1, side, side) for _, side, _ in fields}
    place = torch.cat([padded(alone[side][list(s)], largest).flatten(1) for _, side, s in fields])
    sizes = [len(seats) for *_, seats in fields]
    flat = torch.arange(count * rank**2 * sum(sizes))
    parts = flat.split([count * rank**2 * size for size in sizes])
    order = torch.cat([p.view(count, rank**2, -1) for p in parts], 2).flatten()
    owner = F.one_hot(owner, n).T
    return owner.to(device, dtype), place.to(device, dtype), order.to(device)


def mix_together(encoder: nn.Module) -> None:
    """Let an encoder mix the kernels of all its cells before each of its forward passes."""
    encoder.register_forward_pre_hook(_mix_all)
    encoder.register_forward_hook(_forget, always_call=True)


def _mix_all(encoder: nn.Module, _) -> None:
    alike = defaultdict(list)
    for cell in _cells(encoder):
        kinds = tuple(map(type, cell.operators))
        alike[kinds, cell.rank, cell.start, cell.beside.dtype, cell.beside.device].append(cell)
    for cells in alike.values():
        for cell, *mixed in zip(cells, *mix(cells), strict=True):
            cell.mixed = tuple(mixed)


def _forget(encoder: nn.Module, *_) -> None:
    """The mixed kernels hang on a graph, and are of this forward pass alone."""
    for cell in _cells(encoder):
        cell.mixed = None


def _cells(encoder: nn.Module) -> list[Cell]:
    return [m for m in encoder.modules() if isinstance(m, Cell)]
