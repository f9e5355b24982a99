"""Other views of one sample: image and mask cropped and turned alike, colours of the image only.

From samples to a batch at the model's size, and from logits back to a sample's own size.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_core.data.dataset import Sample, check_sample
from naslora_core.data.tiles import draw_tile
from naslora_core.errors import known

AREA = (0.5, 1.0)
ASPECT = (3 / 4, 4 / 3)  # beside the sample's own
COLOURS = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.03}


def vary(sample: Sample, key: tuple[int, ...]) -> Sample:
    """A crop of half the area or more, by 0 to 3 quarter turns, in other colours.

    key: integers, e.g. (seed, step, index), that alone decide. No pixel is interpolated, so the
    mask keeps its exact values and its place under the image. The crop and the colours are drawn
    as torchvision's RandomResizedCrop and ColorJitter draw them.
    """
    rng = np.random.default_rng((*key, 1))  # without the 1 it would repeat the coins of the flips
    top, left, height, width, colours = _draw(sample, int(rng.integers(2**62)))
    window = slice(top, top + height), slice(left, left + width)
    turns = int(rng.integers(4))
    image, mask = (np.rot90(x[window], turns) for x in (colours, sample.mask))
    return Sample(image.copy(), mask.copy(), sample.name)


def _draw(sample: Sample, seed: int) -> tuple[int, int, int, int, np.ndarray]:
    """The crop's top, left, height and width, and the whole image in other colours."""
    from torchvision.transforms import v2

    image = torch.tensor(sample.image).permute(2, 0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would move CUDA's too
        own = image.shape[2] / image.shape[1]
        crop = v2.RandomResizedCrop.get_params(image, AREA, [a * own for a in ASPECT])
        other = v2.ColorJitter(**COLOURS)(image)
    return *crop, other.permute(1, 2, 0).numpy()


SAM_MEAN = (123.675, 116.28, 103.53)  # as padding it becomes 0 once SAM has normalised
AUGMENTS = ("flips", "full")
RESIZES = ("square", "pad")


def to_batch(
    samples: Sequence[Sample],
    size: int,
    augment_keys: Sequence[tuple[int, ...]] | None = None,
    augment: str = "flips",
    resize: str = "square",
    tile: tuple[int, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Images `B 3 size size` float32 in 0..255 and masks `B size size` uint8.

    resize: "square" squeezes them, "pad" keeps their shape (see `resize_longest_pad`). Images are
    resized with antialiasing, masks by the nearest pixel, so labels stay exact.
    augment_keys: one tuple of integers a sample, e.g. (seed, step, index); it alone decides which
    of the two flips are made, so a resumed run draws the same. augment="full" crops, turns and
    colours each sample before (see `vary`). tile: side, and share with an object: first a piece of
    each image is drawn by its key (see `tiles.draw_tile`). Raises UserError for another word, and
    for what is no Sample.
    """
    for sample in samples:
        check_sample(sample)
    if tile and augment_keys:
        pairs = zip(samples, augment_keys, strict=True)
        samples = [draw_tile(s, tile[0], key, tile[1]) for s, key in pairs]
    if known(augment, AUGMENTS, "augment is") == "full" and augment_keys:
        samples = [vary(s, key) for s, key in zip(samples, augment_keys, strict=True)]
    pairs = [_resized(s, size, resize) for s in samples]
    images, masks = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    for i, key in enumerate(augment_keys or ()):
        axes, (h, w) = flips(key), filled(samples[i].mask.shape, size, resize)
        images[i, :, :h, :w] = images[i, :, :h, :w].flip(axes)
        masks[i, :h, :w] = masks[i, :h, :w].flip(axes)
    return images, masks


def _resized(sample: Sample, size: int, resize: str) -> tuple[Tensor, Tensor]:
    if known(resize, RESIZES, "resize is") == "pad":
        return resize_longest_pad(sample, size)
    return resize_image(sample.image, (size, size)), resize_mask(sample.mask, (size, size))


def filled(shape: tuple[int, int], size: int, resize: str) -> tuple[int, int]:
    """Height and width of the square's part that an image of this shape fills."""
    return longest_shape(shape, size) if resize == "pad" else (size, size)


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


def to_native(logits: Tensor, sample_size: tuple[int, int], resize: str = "square") -> Tensor:
    """Logits `B N S S` of a squeezed (or, SAM's way, padded) image to `B N H W` of its own size.

    Resize logits first and decide afterwards: a threshold before would leave steps.
    """
    h, w = filled(sample_size, logits.shape[-1], resize)
    return F.interpolate(logits[..., :h, :w], sample_size, mode="bilinear", align_corners=False)
