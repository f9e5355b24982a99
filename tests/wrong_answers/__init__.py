"""Wrong answers of the common kinds: lesson_NN.py holds `WRONG`, a list of `Wrong`."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """number: of the exercise; kind: what the learner got wrong; told: a regular expression for
    the part of the message that must help with this very mistake; answers: as the check takes."""

    number: str
    kind: str
    told: str
    answers: tuple[Callable, ...]

    def __str__(self) -> str:
        return f"{self.number} {self.kind}"
