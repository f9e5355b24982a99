"""What a decoder's resolution allows, as the lessons print it beside a method's Dice."""

from collections.abc import Sequence

import numpy as np

from naslora_core.training.ceilings import ceiling, grid_of

IMAGES = 4  # a fit takes half a second


def dice_ceiling(model, samples: Sequence) -> float:
    """Mean Dice, in 0..1, of the best masks of IMAGES samples that `model` can draw.

    model: a Sam or an adapted one; samples: each with a `mask` `H W`, whose classes count as one
    object.
    """
    grid = grid_of(model)
    ious = [ceiling(samples[i].mask > 0, grid) for i in range(min(IMAGES, len(samples)))]
    return float(np.mean([2 * iou / (1 + iou) for iou in ious]))
