"""From samples to a batch at the model's size, and from logits back to a sample's own size."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_core.data.augment import vary
from naslora_core.data.dataset import Sample
from naslora_core.errors import UserError

SAM_MEAN = (123.675, 116.28, 103.53)  # as padding it becomes 0 once SAM has normalised
AUGMENTS = ("flips", "full")


def to_batch(
    samples: Sequence[Sample],
    size: int,
    augment_keys: Sequence[tuple[int, ...]] | None = None,
    augment: str = "flips",
) -> tuple[Tensor, Tensor]:
    """Images `B 3 size size` float32 in 0..255 and masks `B size size` uint8, squeezed to squares.

    Images are resized with antialiasing, masks by the nearest pixel, so labels stay exact.
    augment_keys: one tuple of integers a sample, e.g. (seed, step, index); it alone decides which
    of the two flips are made, so a resumed run draws the same. augment="full" crops, turns and
    colours each sample before (see `vary`). Raises UserError for another word.
    """
    if named_augment(augment) == "full" and augment_keys:
        samples = [vary(s, key) for s, key in zip(samples, augment_keys, strict=True)]
    images = torch.cat([resize_image(s.image, (size, size)) for s in samples])
    masks = torch.cat([resize_mask(s.mask, (size, size)) for s in samples])
    for i, key in enumerate(augment_keys or ()):
        axes = flips(key)
        images[i], masks[i] = images[i].flip(axes), masks[i].flip(axes)
    return images, masks


def named_augment(name: str) -> str:
    """The name, if it is one of AUGMENTS; UserError otherwise."""
    if name not in AUGMENTS:
        raise UserError(f"augment is {name!r}; choose one of {', '.join(AUGMENTS)}.")
    return name


def flips(key: tuple[int, ...]) -> list[int]:
    """The axes to flip (-2: upside down, -1: left to right), each with probability 1/2."""
    coins = np.random.default_rng(key).random(2) < 0.5
    return [axis for axis, flip in zip((-1, -2), coins, strict=True) if flip]


def resize_image(image: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """uint8 `H W 3` to float32 `1 3 h w` in 0..255."""
    tensor = torch.tensor(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    if tensor.shape[-2:] == shape:
        return tensor
    resized = F.interpolate(tensor, shape, mode="bilinear", align_corners=False, antialias=True)
    return resized.clamp(0, 255)


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """uint8 `H W` to uint8 `1 h w` by the nearest pixel centre."""
    tensor = torch.tensor(np.ascontiguousarray(mask))[None, None]
    return F.interpolate(tensor, shape, mode="nearest-exact")[:, 0]


def longest_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Height and width once the longer side is `size`, rounded as SAM rounds, at least 1."""
    scale = size / max(shape)
    return max(1, int(shape[0] * scale + 0.5)), max(1, int(shape[1] * scale + 0.5))


def resize_longest_pad(sample: Sample, size: int) -> tuple[Tensor, Tensor]:
    """SAM's way: image `1 3 size size` and mask `1 size size`, padded at the right and bottom.

    The image is padded with SAM's mean colour, the mask with background.
    """
    h, w = longest_shape(sample.mask.shape, size)
    image = torch.tensor(SAM_MEAN).view(1, 3, 1, 1).repeat(1, 1, size, size)
    mask = torch.zeros(1, size, size, dtype=torch.uint8)
    image[..., :h, :w] = resize_image(sample.image, (h, w))
    mask[..., :h, :w] = resize_mask(sample.mask, (h, w))
    return image, mask


def to_native(logits: Tensor, sample_size: tuple[int, int], padded: bool = False) -> Tensor:
    """Logits `B N S S` of a squeezed (or, SAM's way, padded) image to `B N H W` of its own size.

    Resize logits first and decide afterwards: a threshold before would leave steps.
    """
    if padded:
        h, w = longest_shape(sample_size, logits.shape[-1])
        logits = logits[..., :h, :w]
    return F.interpolate(logits, sample_size, mode="bilinear", align_corners=False)
