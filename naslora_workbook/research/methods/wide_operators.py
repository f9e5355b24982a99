"""The `wide` set: operators of longer reach than the linear set's, for whole maps."""

import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.search.operator_registry import OPERATOR_SETS, Operator, operator

OPERATOR_SETS["wide"] = (
    *("skip", "conv_3x3", "conv_5x5", "strip_7", "separable_13", "max_pool_3x3"),
)


@operator("max_pool_3x3")
class MaxPool(Operator):
    """The largest of 3 x 3 tokens, channel by channel."""

    side = 3
    why_unfoldable = "takes a maximum"

    def forward(self, z: Tensor) -> Tensor:
        return F.max_pool2d(z, 3, 1, 1)


@operator("strip_7")
class Strip(Operator):
    """A dense 1 x 7 plus a dense 7 x 1 convolution."""

    side = 7
    why_unfoldable = "gives no kernel"

    def __init__(self, rank: int):
        super().__init__(rank)
        self.row = nn.Conv2d(rank, rank, (1, 7), padding=(0, 3), bias=False)
        self.column = nn.Conv2d(rank, rank, (7, 1), padding=(3, 0), bias=False)

    def forward(self, z: Tensor) -> Tensor:
        return self.row(z) + self.column(z)


@operator("separable_13")
class Separable13(Operator):
    """Depthwise 13 x 13, then pointwise."""

    side = 13
    why_unfoldable = "gives no kernel"

    def __init__(self, rank: int):
        super().__init__(rank)
        self.depthwise = nn.Conv2d(rank, rank, 13, padding=6, groups=rank, bias=False)
        self.pointwise = nn.Conv2d(rank, rank, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(z))
