"""Overlap of masks. Two empty masks agree perfectly: both scores are 1."""

import numpy as np


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two boolean masks `H W`, in 0..1 (Jaccard 1912)."""
    union = (prediction | truth).sum()
    return float((prediction & truth).sum() / union) if union else 1.0


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two boolean masks `H W`, in 0..1 (Dice 1945)."""
    total = prediction.sum() + truth.sum()
    return float(2 * (prediction & truth).sum() / total) if total else 1.0


def per_class(score, prediction: np.ndarray, truth: np.ndarray, classes: int) -> list[float]:
    """`score` of every foreground class 1..classes of two label maps `H W`."""
    return [score(prediction == c, truth == c) for c in range(1, classes + 1)]
