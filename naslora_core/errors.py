"""The one kind of error that a user can correct, and the words of its sentence."""

import math
import re
from collections.abc import Collection, Sequence
from numbers import Integral
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
    """A text as one line that every terminal prints: a file's name may be no UTF-8, or hold a line
    break or a command to the terminal."""
    letters = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in letters)


def fault(where: Path | str, given: str, expected: str, remedy: str) -> UserError:
    """The sentence of a fault: the place, what is there, what was expected, what to do."""
    kind = re.sub(r"\S*\d\S*", "", expected + remedy)
    return UserError(f"{where} {given}; expected {expected}; {remedy}.", kind)


def known(name: Name, choices: Collection[Name], lead: str) -> Name:
    """The name, if it is one of the choices; else a UserError that begins so and lists them."""
    if name not in choices:
        raise UserError(f"{lead} {name!r}; choose one of {', '.join(map(str, choices))}.")
    return name


def number(name: str, value, least: float = 1, most: float = math.inf, kind: type = Integral):
    """The value, if it is a number of this kind from `least` to `most`; UserError for any other (a
    truth value and nan are none)."""
    if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= most:
        wanted = f"a {'whole ' if kind is Integral else ''}number from {least}"
        wanted += f" to {most}" if most < math.inf else ""
        raise fault(f"{name}={value!r:.60}", "is given", wanted, "give one")
    return value


def some(names: Sequence[str], what: str = "image") -> str:
    """How many, and the first three."""
    return f"{len(names)} {what}(s) ({first(names)})"


def first(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
