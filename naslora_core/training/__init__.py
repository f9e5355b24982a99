"""Losses, metrics, the stage-wise trainer, evaluation, and the pre-training of the small model."""

from naslora_core.training.evaluate import Scores, evaluate, score_masks
from naslora_core.training.fit import FitResult, fit
from naslora_core.training.native_masks import predict

__all__ = ["FitResult", "Scores", "evaluate", "fit", "predict", "score_masks"]
