"""The searchable cell: a softmax mixture of operators, computed as ONE convolution.

Convolution is linear in its kernel, so  sum_i a_i (K_i * z) = (sum_i a_i pad(K_i)) * z : pad every
kernel to the largest, mix the kernels, convolve once. The cost of a step then hardly depends on
how many operators are searched. `mix_maps` is the same sum over feature maps, for reading.
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.errors import known
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
        known(start, STARTS, "Unknown start")
        self.rank, self.start = rank, start
        self.register_buffer("temperature", torch.ones(()))  # of the softmax; kept in files
        self.names = operator_names(operators)
        self.operators = build(self.names, rank)
        self.arch_alpha = nn.Parameter(torch.zeros(len(self.names)))
        self._lay_out()
        if start == "identity":
            for op in self.operators:
                op.start_at_identity()

    @property
    def linear(self) -> bool:
        """Whether `kernel` is the whole cell: every operator is a convolution."""
        return all(op.linear for op in self.operators)

    @property
    def gain(self) -> float:
        """What the mixture is multiplied with: sqrt(n) beside a skip, else 1."""
        return math.sqrt(len(self.names)) if self.start == "beside" else 1.0

    def probabilities(self) -> Tensor:
        """softmax(alpha / temperature), `n`."""
        return (self.arch_alpha / self.temperature).softmax(0)

    def _lay_out(self) -> None:
        """Where the taps of all linear kernels, end to end, lie in the largest of them."""
        linear = [(i, op) for i, op in enumerate(self.operators) if op.linear]
        self.side = max((op.side for _, op in linear), default=1)
        place = [placement(op.side, self.side)[op.seats()] for _, op in linear]
        owner = [torch.full((len(taps),), i) for (i, _), taps in zip(linear, place, strict=True)]
        owners = torch.cat(owner or [torch.zeros(0, dtype=torch.long)])
        constants = {
            "owner": F.one_hot(owners, len(self.names)).float(),  # T n
            "place": torch.cat(place or [torch.zeros(0, 1)]),  # T k^2
            "beside": identity(self.rank, self.side) * (self.start == "beside"),  # r r k k
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def kernel(self) -> Tensor:
        """The effective kernel `r r k k` of all linear operators (and the skip beside them)."""
        banks = [op.taps() for op in self.operators if op.linear]
        if not banks:
            return self.beside
        weights = self.gain * self.probabilities()
        with torch.autocast(weights.device.type, enabled=False):
            # sum_i a_i pad(K_i) as one product: r r T  @  T k^2
            mixed = torch.cat(banks, 2) @ ((self.owner @ weights)[:, None] * self.place)
        return mixed.view_as(self.beside) + self.beside

    def forward(self, z: Tensor) -> Tensor:
        out = F.conv2d(z, self.kernel().to(z.dtype), padding=self.side // 2)
        others = [(i, op) for i, op in enumerate(self.operators) if not op.linear]
        weights = self.gain * self.probabilities() if others else ()
        return sum((weights[i] * op(z) for i, op in others), out)

    def mix_maps(self, z: Tensor) -> Tensor:
        """The readable reference: sum_i a_i O_i(z), every operator on its own."""
        maps = [
            self.gain * w * op(z)
            for w, op in zip(self.probabilities(), self.operators, strict=True)
        ]
        return sum(maps) + (z if self.start == "beside" else 0)


def placement(side: int, largest: int) -> Tensor:
    """Row t says where tap t of a `side x side` kernel lies in a `largest x largest` one, 0/1."""
    taps = torch.eye(side**2).view(-1, side, side)
    return F.pad(taps, ((largest - side) // 2,) * 4).flatten(1)


def entropy(p: Tensor) -> Tensor:
    """Entropy of probabilities `n` as a share of log n; a certain one (0 log 0) counts nothing."""
    return -torch.special.xlogy(p, p).sum() / math.log(max(len(p), 2))


def heat(cells: Iterable[Cell], temperature: float | None) -> None:
    """Give the cells this temperature; None leaves them as they are."""
    for cell in cells if temperature is not None else ():
        cell.temperature.fill_(temperature)
