"""From samples to a batch at the model's size, varied for training, and from logits back.

Image and mask are cropped, turned and resized alike; colours change in the image alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from naslora_core.data.dataset import Sample, check_sample
from naslora_core.data.tiles import draw_tile
from naslora_core.errors import known

AREA = (0.5, 1.0)
ASPECT = (3 / 4, 4 / 3)  # beside the sample's own
SAM_MEAN = (123.675, 116.28, 103.53)  # as padding it becomes 0 once SAM has normalised
AUGMENTS = ("flips", "full")
RESIZES = ("square", "pad")
# No hue: it takes six times as long as these three together.
COLOURS = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2}


def crop(sample: Sample, key: tuple[int, ...]) -> Sample:
    """A window of half the area or more, by 0 to 3 quarter turns.

    key: integers, e.g. (seed, step, index), that alone decide. No pixel is interpolated, so the
    mask keeps its exact values and its place under the image. The window is drawn as torchvision's
    RandomResizedCrop draws it.
    """
    rng = np.random.default_rng((*key, 1))  # without the 1 it would repeat the coins of the flips
    shape = torch.empty(1, *sample.mask.shape, device="meta")
    own = shape.shape[2] / shape.shape[1]
    with _seeded(int(rng.integers(2**62))):
        ratio = [a * own for a in ASPECT]
        top, left, height, width = v2.RandomResizedCrop.get_params(shape, AREA, ratio)
    window, turns = (slice(top, top + height), slice(left, left + width)), int(rng.integers(4))
    image, mask = (np.rot90(x[window], turns) for x in (sample.image, sample.mask))
    return Sample(image.copy(), mask.copy(), sample.name)


def recolour(image: Tensor, key: tuple[int, ...]) -> Tensor:
    """RGB `3 h w` in 0..255 in other colours, as torchvision's ColorJitter draws them.

    One thread computes the mean that contrast needs: of several, its last bit would hang on how
    many there are.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _seeded(int(np.random.default_rng((*key, 3)).integers(2**62))):
            return 255 * v2.ColorJitter(**COLOURS)(image / 255)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Inside, the CPU's global generator starts from a seed; CUDA's are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def to_batch(
    samples: Sequence[Sample],
    size: int,
    augment_keys: Sequence[tuple[int, ...]] | None = None,
    augment: str = "flips",
    resize: str = "square",
    tile: tuple[int, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Images `B 3 size size` float32 in 0..255 and masks `B size size` uint8.

    augment_keys: one tuple of integers a sample, e.g. (seed, step, index); it alone decides which
    of the two flips are made, so a resumed run draws the same. augment="full" crops and turns each
    sample before, and changes its colours once it is small. resize: see `resized`. tile: side, and
    share with an object: first a piece of each image is drawn by its key (see `tiles.draw_tile`).
    Raises UserError for another word, and for what is no Sample.
    """
    for sample in samples:
        check_sample(sample)
    if tile and augment_keys:
        pairs = zip(samples, augment_keys, strict=True)
        samples = [draw_tile(s, tile[0], key, tile[1]) for s, key in pairs]
    if known(augment, AUGMENTS, "augment is") == "full" and augment_keys:
        samples = [crop(s, key) for s, key in zip(samples, augment_keys, strict=True)]
    known(resize, RESIZES, "resize is")
    pairs = [resized(s, size, resize) for s in samples]
    images, masks = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    for i, key in enumerate(augment_keys or ()):
        axes, (h, w) = flips(key), filled(samples[i].mask.shape, size, resize)
        images[i, :, :h, :w] = images[i, :, :h, :w].flip(axes)
        masks[i, :h, :w] = masks[i, :h, :w].flip(axes)
        if augment == "full":
            images[i, :, :h, :w] = recolour(images[i, :, :h, :w], key)
    return images, masks


def filled(shape: tuple[int, int], size: int, resize: str) -> tuple[int, int]:
    """Height and width of the square's part that an image of this shape fills.

    "pad": its longer side is `size`, rounded as SAM rounds, the other at least 1.
    """
    scale = size / max(shape)
    longest = max(1, int(shape[0] * scale + 0.5)), max(1, int(shape[1] * scale + 0.5))
    return longest if resize == "pad" else (size, size)


def flips(key: tuple[int, ...]) -> list[int]:
    """The axes to flip (-2: upside down, -1: left to right), each with probability 1/2."""
    coins = np.random.default_rng(key).random(2) < 0.5
    return [axis for axis, flip in zip((-1, -2), coins, strict=True) if flip]


def resized(sample: Sample, size: int, resize: str = "pad") -> tuple[Tensor, Tensor]:
    """Image `1 3 size size` and mask `1 size size`, squeezed, or in SAM's way padded at the right
    and bottom: the image with SAM's mean colour, the mask with background.

    The image is resized with antialiasing; the mask by the nearest pixel, so labels stay exact.
    """
    h, w = filled(sample.mask.shape, size, resize)
    small = torch.tensor(np.ascontiguousarray(sample.image)).permute(2, 0, 1)[None].float()
    if small.shape[-2:] != (h, w):
        how = {"mode": "bilinear", "align_corners": False, "antialias": True}
        small = F.interpolate(small, (h, w), **how).clamp(0, 255)
    labels = torch.tensor(np.ascontiguousarray(sample.mask))[None, None]
    labels = F.interpolate(labels, (h, w), mode="nearest-exact")[:, 0]
    if (h, w) == (size, size):
        return small, labels
    image = torch.tensor(SAM_MEAN).view(1, 3, 1, 1).repeat(1, 1, size, size)
    mask = torch.zeros(1, size, size, dtype=torch.uint8)
    image[..., :h, :w], mask[..., :h, :w] = small, labels
    return image, mask


def to_native(logits: Tensor, sample_size: tuple[int, int], resize: str = "square") -> Tensor:
    """Logits `B N S S` of a squeezed (or, SAM's way, padded) image to `B N H W` of its own size.

    Resize logits first and decide afterwards: a threshold before would leave steps.
    """
    h, w = filled(sample_size, logits.shape[-1], resize)
    return F.interpolate(logits[..., :h, :w], sample_size, mode="bilinear", align_corners=False)
