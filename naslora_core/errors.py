"""The one kind of error that a user can mend."""


class UserError(ValueError):
    """One sentence: the value met, what was expected, and the remedy."""
