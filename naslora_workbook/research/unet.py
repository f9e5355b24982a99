"""A small U-Net from scratch (Ronneberger 2015): the yardstick outside the family.

It sees the same images for the same passes or minutes, through the same `fit` and `evaluate`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.sam import Output

LEVELS = 4  # 1, 2, 4, 8 times the width


def _stage(inward: int, outward: int) -> nn.Sequential:
    """Twice 3x3 convolution, instance norm, leaky ReLU, as in nnU-Net (Isensee 2021).

    With group norm and ReLU it drew empty masks of polyps after 600 passes (three seeds).
    """
    layers = []
    for channels in (inward, outward):
        layers += [nn.Conv2d(channels, outward, 3, padding=1, bias=False)]
        layers += [nn.InstanceNorm2d(outward, affine=True), nn.LeakyReLU()]
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class FromScratch:
    """width: channels of the first level, a multiple of 4."""

    width: int = 16


class UNet(nn.Module):
    """RGB `B 3 S S` in 0..255 -> Output with a mask a class, background the logit 0."""

    resize, tile, class_names = "square", None, ()

    def __init__(self, image_size: int = 128, classes: int = 1, width: int = 16, seed: int = 0):
        super().__init__()
        self.image_size, self.classes, self.method = image_size, classes, FromScratch(width)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            widths = [width * 2**i for i in range(LEVELS)]
            pairs = list(zip(widths[:-1], widths[1:], strict=True))
            self.first, self.last = _stage(3, width), nn.Conv2d(width, classes, 1)
            self.down = nn.ModuleList(_stage(a, b) for a, b in pairs)
            self.up = nn.ModuleList(_stage(a + b, a) for a, b in reversed(pairs))

    def trainable(self) -> dict[str, Tensor]:
        """Every tensor: nothing is frozen."""
        return dict(self.named_parameters())

    def auxiliary_loss(self) -> float:
        """Nothing beside the task's loss."""
        return 0.0

    def forward(self, images: Tensor) -> Output:
        levels = [self.first(images / 127.5 - 1)]
        for stage in self.down:
            levels.append(stage(F.max_pool2d(levels[-1], 2)))
        x = levels.pop()
        for stage in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = stage(torch.cat([x, levels.pop()], 1))
        masks = self.last(x)
        return Output(masks, masks, masks.new_zeros(len(masks), self.classes))


def width_for(parameters: int, classes: int = 1) -> int:
    """The width, a multiple of 4, whose U-Net comes closest to a number of parameters."""

    def distance(width: int) -> int:
        with torch.device("meta"):
            return abs(sum(p.numel() for p in UNet(128, classes, width).parameters()) - parameters)

    return min(range(4, 129, 4), key=distance)
