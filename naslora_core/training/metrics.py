"""Overlap of masks, image by image or over a whole set, at whatever size the masks have.

Two empty masks agree perfectly: their IoU and Dice are 1. Over a set, a class that no image shows
and no mask draws says nothing and is left out.
"""

import numpy as np


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two boolean masks `H W`, in 0..1 (Jaccard 1912)."""
    union = (prediction | truth).sum()
    return float((prediction & truth).sum() / union) if union else 1.0


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two boolean masks `H W`, in 0..1 (Dice 1945)."""
    total = prediction.sum() + truth.sum()
    return float(2 * (prediction & truth).sum() / total) if total else 1.0


def ber(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Balanced error rate of two boolean masks `H W`, in 0..1, lower is better: the mean of the
    share of object pixels missed and of background pixels drawn, where there are such pixels."""
    sides = [(prediction != truth)[side] for side in (truth, ~truth)]
    return float(np.mean([wrong.mean() for wrong in sides if wrong.size]))


def mae(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute difference of probabilities `H W` and a boolean mask: lower is better."""
    return float(np.abs(probability.astype(np.float64) - truth).mean())


def confusion(prediction: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of two label maps `H W`, counted: `C+1 C+1`, a row a true class; what is 0 or above
    `classes` is background."""
    t, p = (np.where(x > classes, 0, x).astype(np.int64).ravel() for x in (truth, prediction))
    side = classes + 1
    return np.bincount(t * side + p, minlength=side * side).reshape(side, side)


def global_iou(counts: np.ndarray) -> np.ndarray:
    """IoU of each class, background first, over all pixels of a set: `C+1`, from `confusion`; nan
    for a class that is in neither truth nor prediction."""
    right = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - right
    return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)


def global_dice(counts: np.ndarray) -> np.ndarray:
    """Dice of each class, background first, over all pixels of a set: `C+1`, nan as above."""
    overlap = global_iou(counts)
    return 2 * overlap / (1 + overlap)


def mean_iou(counts: np.ndarray, background: bool = True) -> float:
    """Mean over the classes of `global_iou` that are in truth or prediction; 1 if none is."""
    return mean_present(global_iou(counts)[0 if background else 1 :])


def mean_present(values: np.ndarray) -> float:
    """Mean of what is not nan, and 1 if nothing is left: nothing to find, and nothing drawn."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else 1.0
