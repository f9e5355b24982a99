"""Losses, metrics, the stage-wise trainer, evaluation, and the pre-training of the small model."""

from naslora_core.training.evaluation import Scores, evaluate, score_masks
from naslora_core.training.fitting import FitResult, fit
from naslora_core.training.prediction import predict

__all__ = ["FitResult", "Scores", "evaluate", "fit", "predict", "score_masks"]
