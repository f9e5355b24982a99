"""From samples to a batch at the model's size."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_core.data.dataset import Sample


def to_batch(
    samples: Sequence[Sample], size: int, augment_keys: Sequence[tuple[int, ...]] | None = None
) -> tuple[Tensor, Tensor]:
    """Images `B 3 size size` float32 in 0..255 and masks `B size size` uint8, squeezed to squares.

    Images are resized with antialiasing, masks by the nearest pixel, so labels stay exact.
    augment_keys: one tuple of integers a sample, e.g. (seed, step, index); it alone decides which
    of the two flips are made.
    """
    images = torch.cat([resize_image(s.image, size) for s in samples])
    masks = torch.cat([resize_mask(s.mask, size) for s in samples])
    for i, key in enumerate(augment_keys or ()):
        flips = np.random.default_rng(key).random(2) < 0.5
        axes = [a for a, flip in zip((-1, -2), flips, strict=True) if flip]
        images[i], masks[i] = images[i].flip(axes), masks[i].flip(axes)
    return images, masks


def resize_image(image: np.ndarray, size: int) -> Tensor:
    """uint8 `H W 3` to float32 `1 3 size size` in 0..255."""
    tensor = torch.tensor(image).permute(2, 0, 1)[None].float()
    if tensor.shape[-2:] == (size, size):
        return tensor
    large = F.interpolate(
        tensor, (size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return large.clamp(0, 255)


def resize_mask(mask: np.ndarray, size: int) -> Tensor:
    """uint8 `H W` to uint8 `1 size size` by the nearest pixel centre."""
    tensor = torch.tensor(mask)[None, None]
    return F.interpolate(tensor, (size, size), mode="nearest-exact")[:, 0]
