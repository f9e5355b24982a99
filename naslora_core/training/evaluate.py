"""Masks at native resolution, and their scores, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from naslora_core.data.transforms import to_batch
from naslora_core.sam import SamPredictor
from naslora_core.training.losses import with_background
from naslora_core.training.metrics import dice, iou, per_class
from naslora_core.training.prompts import box_of
from naslora_core.training.table import components


@dataclass(frozen=True)
class Scores:
    """Dice and IoU of every image `n` (mean over its classes), with the masks that earned them."""

    names: list[str]
    dice: np.ndarray
    iou: np.ndarray
    masks: list[np.ndarray] = field(repr=False)

    @property
    def mean(self) -> dict[str, float]:
        """Mean over images of the per-image scores."""
        return {"dice": float(self.dice.mean()), "iou": float(self.iou.mean())}

    @property
    def median_image(self) -> int:
        """Position of the image whose Dice is the median (the lower of two): the one to show."""
        return int(np.argsort(self.dice, kind="stable")[(len(self.dice) - 1) // 2])


@torch.no_grad()
def predict(model, samples: Sequence, batch: int = 16) -> list[np.ndarray]:
    """Prompt-free label maps `H W` uint8 of every sample, at its own size."""
    was_training, found = model.training, []
    model.eval()
    for start in range(0, len(samples), batch):
        part = [samples[i] for i in range(start, min(start + batch, len(samples)))]
        images, _ = to_batch(part, model.image_size)
        logits = model(images.to(next(model.parameters()).device)).masks.float().cpu()
        found += [_native(one, s.mask.shape) for one, s in zip(logits, part, strict=True)]
    model.train(was_training)
    return found


def _native(logits: torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
    """Logits `N S S` to a label map of another size: enlarge first, decide afterwards."""
    large = F.interpolate(logits[None], shape, mode="bilinear", align_corners=False)
    return with_background(large)[0].argmax(0).to(torch.uint8).numpy()


def predict_boxed(sam, samples: Sequence) -> list[np.ndarray]:
    """What a user gets from the unadapted SAM: a tight box on every object, masks united."""
    predictor, found = SamPredictor(sam), []
    for sample in samples:
        predictor.set_image(sample.image)
        answer = np.zeros_like(sample.mask)
        for label in np.unique(sample.mask[sample.mask > 0]):
            for part in components(sample.mask == label):
                mask, _, _ = predictor.predict(box=box_of(part), multimask_output=False)
                answer[mask[0]] = label
        found.append(answer)
    return found


def evaluate(model, samples: Sequence, prompt: str | None = None, classes: int = 1) -> Scores:
    """Scores of a Segmenter without a prompt, or of a Sam with prompt="box" on every object."""
    masks = predict_boxed(model, samples) if prompt == "box" else predict(model, samples)
    return score_masks(masks, samples, classes)


def score_masks(masks: Sequence[np.ndarray], samples: Sequence, classes: int = 1) -> Scores:
    """Per-image Dice and IoU of label maps against the samples' masks, averaged over classes."""
    pairs = [(m, s.mask) for m, s in zip(masks, samples, strict=True)]
    each = {f: [np.mean(per_class(f, m, t, classes)) for m, t in pairs] for f in (dice, iou)}
    names = [s.name for s in samples]
    return Scores(names, np.array(each[dice]), np.array(each[iou]), list(masks))
