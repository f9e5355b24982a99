"""Other views of one sample: image and mask cropped and turned alike, colours of the image only."""

import numpy as np
import torch

from naslora_core.data.dataset import Sample

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
    from naslora_core.sam.heal import heal_torchvision

    heal_torchvision()
    from torchvision.transforms import v2

    image = torch.tensor(sample.image).permute(2, 0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would move CUDA's too
        own = image.shape[2] / image.shape[1]
        crop = v2.RandomResizedCrop.get_params(image, AREA, [a * own for a in ASPECT])
        other = v2.ColorJitter(**COLOURS)(image)
    return *crop, other.permute(1, 2, 0).numpy()
