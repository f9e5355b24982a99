"""The `darts` set: the operators of DARTS (Liu et al. 2019) and PC-DARTS, as their code has them.

None of them but `none` and `skip` is a convolution, so a cell evaluates them one by one beside the
mixed kernel. They carry `darts_` in their names, since they are not those of the linear set: pools
are followed by a BatchNorm, the average counts no padding, convolutions begin with a ReLU, and
`sep` is twice the whole. Every BatchNorm is affine=False, as in a search; in training it divides
by the statistics of the batch, in eval mode by those it has kept, which go into files.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.search.operator_registry import OPERATOR_SETS, Operator, operator

OPERATOR_SETS["darts"] = (
    *("none", "skip", "darts_max_pool_3x3", "darts_avg_pool_3x3", "darts_sep_conv_3x3"),
    *("darts_sep_conv_5x5", "darts_dil_conv_3x3", "darts_dil_conv_5x5"),
)


class Pool(Operator):
    """A pool over 3 x 3 at stride 1, then BN."""

    side = 3
    folds_to = "nothing"

    def __init__(self, rank: int):
        super().__init__(rank)
        self.norm = nn.BatchNorm2d(rank, affine=False)

    def macs(self) -> int:
        return 9 * self.rank


@operator("darts_max_pool_3x3")
class MaxPool3(Pool):
    """BN(max over 3 x 3)."""

    why_unfoldable = "takes a maximum"

    def forward(self, z: Tensor) -> Tensor:
        return self.norm(F.max_pool2d(z, 3, 1, 1))


@operator("darts_avg_pool_3x3")
class AveragePool3(Pool):
    """BN(mean over those of the 3 x 3 tokens that there are): padding is not counted."""

    why_unfoldable = "divides by fewer tokens at the border, and its BN shifts"

    def forward(self, z: Tensor) -> Tensor:
        return self.norm(F.avg_pool2d(z, 3, 1, 1, count_include_pad=False))


class Rectified(Operator):
    """`times` in a row: ReLU, depthwise `width x width` taps `dilation` apart, pointwise, BN."""

    width, dilation, times = 3, 1, 1
    folds_to = "nothing"
    why_unfoldable = "begins with a ReLU"

    def __init__(self, rank: int):
        super().__init__(rank)
        depthwise = {"padding": "same", "dilation": self.dilation, "groups": rank, "bias": False}
        layers = []
        for _ in range(self.times):
            layers += [nn.ReLU(), nn.Conv2d(rank, rank, self.width, **depthwise)]
            layers += [nn.Conv2d(rank, rank, 1, bias=False), nn.BatchNorm2d(rank, affine=False)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)

    def macs(self) -> int:
        return self.times * (self.width**2 * self.rank + self.rank**2)


FACTORISED = {  # width, dilation, times in a row
    "darts_sep_conv_3x3": (3, 1, 2),
    "darts_sep_conv_5x5": (5, 1, 2),
    "darts_dil_conv_3x3": (3, 2, 1),
    "darts_dil_conv_5x5": (5, 2, 1),
}
for _name, (_width, _dilation, _times) in FACTORISED.items():
    _settings = {"width": _width, "dilation": _dilation, "times": _times}
    _settings["side"] = 1 + _times * _dilation * (_width - 1)
    operator(_name)(type(_name, (Rectified,), _settings))
