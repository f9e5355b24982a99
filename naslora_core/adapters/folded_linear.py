"""What a fold leaves of an adapter that looks at other tokens: a Linear and a side branch."""

import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.adapters.places import plus_path
from naslora_core.adapters.windows import Windows, on_map


class FoldedLinear(nn.Module):
    """W0' x + Wd (K' * We x): K' has no centre tap, s is in Wd.

    margins as LoRALinear has them, windows as SpatialLoRALinear has them.
    """

    def __init__(self, linear: nn.Module, We: Tensor, kernel: Tensor, Wd: Tensor, margins, windows):
        super().__init__()
        self.linear, self.margins = linear, tuple(margins)
        self.windows = Windows(*windows) if windows else None
        self.in_features, self.out_features = linear.in_features, linear.out_features
        for name, value in (("We", We), ("kernel", kernel), ("Wd", Wd)):
            self.register_buffer(name, value.clone())

    def forward(self, x: Tensor) -> Tensor:
        z = on_map(self.convolve, x @ self.We.T, self.windows)
        return plus_path(self.linear(x), z, self.Wd, 1.0, self.margins)

    def convolve(self, z: Tensor) -> Tensor:
        """K' * z, `B r H W`."""
        return F.conv2d(z, self.kernel, padding=self.kernel.shape[-1] // 2)
