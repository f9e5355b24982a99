"""The one kind of error that a user can mend."""

from collections.abc import Collection


class UserError(ValueError):
    """One sentence: the value met, what was expected, and the remedy."""


def known(name: str, choices: Collection[str], lead: str) -> str:
    """The name, if it is one of the choices; else a UserError that begins so and lists them."""
    if name not in choices:
        raise UserError(f"{lead} {name!r}; choose one of {', '.join(choices)}.")
    return name
