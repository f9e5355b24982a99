"""A method by its name with settings from a shell, NAME=VALUE."""

from dataclasses import fields, replace

from naslora_core.adapters import METHODS
from naslora_core.cli import literal
from naslora_core.errors import UserError, known

KINDS = {  # of a setting by its default: what a value must be, and what it is else
    bool: (bool, "neither True nor False"),
    int: (int, "no whole number"),
    float: ((int, float), "no number"),
    str: ((str, tuple, list), "no name, and no tuple as in blocks=(0, 3)"),
    tuple: ((str, tuple, list), "no name, and no tuple as in linears=('q', 'v')"),
}


def method_of(name: str, settings: list[str]):
    """The named method with NAME=VALUE settings put in; UserError for what it does not have."""
    known(name, METHODS, "Unknown method")
    method, given = METHODS[name], {}
    fields_of = {f.name for f in fields(method)}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or key not in fields_of:
            raise UserError(
                f"--set {setting} is no setting of {name}; write NAME=VALUE with one of "
                f"{', '.join(sorted(fields_of)) or 'none: it has no settings'}."
            )
        given[key] = _fitting(setting, literal(value), f"{name}'s {key}", getattr(method, key))
    return replace(method, **given)


def _fitting(setting: str, value, what: str, default):
    """The value, if it is of the default's kind; a truth value is no number."""
    kind, lack = KINDS[type(default)]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"--set {setting} is {lack}; {what} is {default!r} by default.")
    return value
