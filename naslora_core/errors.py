"""The one kind of error that a user can correct, and the words of its sentence."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

Name = TypeVar("Name", str, int)


class UserError(ValueError):
    """One sentence: the value met, what was expected, and the remedy.

    kind: what faults of one kind share: all that is expected and to be done, without numbers.
    """

    def __init__(self, sentence: str, kind: str = ""):
        super().__init__(printable(sentence))
        self.kind = kind


def printable(text: str) -> str:
    """A text that every terminal prints: the name of a file may be no UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def fault(where: Path | str, given: str, expected: str, remedy: str) -> UserError:
    """The sentence of a fault: the place, what is there, what was expected, what to do."""
    kind = re.sub(r"\S*\d\S*", "", expected + remedy)
    return UserError(f"{where} {given}; expected {expected}; {remedy}.", kind)


def known(name: Name, choices: Collection[Name], lead: str) -> Name:
    """The name, if it is one of the choices; else a UserError that begins so and lists them."""
    if name not in choices:
        raise UserError(f"{lead} {name!r}; choose one of {', '.join(map(str, choices))}.")
    return name


def some(names: Sequence[str], what: str = "image") -> str:
    """How many, and the first three."""
    return f"{len(names)} {what}(s) ({first(names)})"


def first(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
