"""Validate while training: keep the best state, stop when nothing improves.

Only the validation split decides; the half of the training images that moves alpha never does,
for a model that alpha was fitted to would be judged by its own answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from naslora_core.errors import number
from naslora_core.training import evaluation

VALIDATION_DICE = "val_dice"  # the event's key


@dataclass(frozen=True)
class EarlyStopping:
    """every: steps between two validations; patience: validations without a better one before
    stopping, None for never; images: how many of the validation split, from its start."""

    every: int = 50
    patience: int | None = None
    images: int | None = None

    def __post_init__(self):
        for name in ("every", "patience", "images"):
            number(name, 1 if (n := getattr(self, name)) is None else n)

    def validate(
        self, model, data, step: int, batch: int = 16, last: bool = False
    ) -> dict[str, float]:
        """Mean validation Dice at this step as a part of its event; {} between two validations.

        last: of a run, which is validated too, so that a short run has a best model. batch: images
        held at once, no more than a training step holds.
        """
        if not len(data.val) or (step % self.every and not last):
            return {}
        how = {"classes": len(data.classes), "batch": batch, "keep_masks": False}
        scores = evaluation.evaluate(model, data.val[: self.images], **how)
        return {VALIDATION_DICE: round(scores.mean["dice"], 5)}

    def should_stop(self, history: Sequence[dict]) -> bool:
        """Whether the last `patience` validations brought nothing better."""
        seen = validation_scores(history)
        return bool(self.patience and len(seen) - best_validation(seen) >= self.patience)


def validation_scores(history: Sequence[dict]) -> list[float]:
    """The Dice of every validation, in order."""
    return [event[VALIDATION_DICE] for event in history if VALIDATION_DICE in event]


def best_validation(seen: Sequence[float]) -> int:
    """Which validation was the best, counted from 1; the first of equals; 0 for none."""
    return seen.index(max(seen)) + 1 if seen else 0


def is_best(history: Sequence[dict]) -> bool:
    """Whether the last event validated, better than any before."""
    seen = validation_scores(history)
    return VALIDATION_DICE in history[-1] and best_validation(seen) == len(seen)
