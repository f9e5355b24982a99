"""The one kind of error that a user can mend."""

from collections.abc import Collection
from typing import TypeVar

Name = TypeVar("Name", str, int)


class UserError(ValueError):
    """One sentence: the value met, what was expected, and the remedy."""


def known(name: Name, choices: Collection[Name], lead: str) -> Name:
    """The name, if it is one of the choices; else a UserError that begins so and lists them."""
    if name not in choices:
        raise UserError(f"{lead} {name!r}; choose one of {', '.join(map(str, choices))}.")
    return name
