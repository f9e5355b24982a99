"""Train an adapted SAM, predict with it, and score its masks."""

from naslora_core.training.evaluation import Scores, evaluate, score_masks
from naslora_core.training.fitting import FitResult, fit
from naslora_core.training.prediction import predict
