"""A method by its name with settings from a shell, NAME=VALUE, and the list of all."""

from dataclasses import fields, replace

from naslora_core.adapters import METHODS
from naslora_core.cli.command import literal
from naslora_core.errors import UserError, fault, known

DEFAULT = "nas_lora"
WIDER = {float: (int, float), str: (str, tuple, list), tuple: (str, tuple, list)}  # of a default


def chosen(name: str | None) -> str:
    """The name, or, told in a line with the reason, the default's."""
    if name is None:
        print(
            f"No --method was given: {DEFAULT}, which searches the operator of every block. "
            "`lora` is the plain comparison and trains faster; `naslora methods` lists all."
        )
    return name or DEFAULT


def method_of(name: str, settings: list[str]):
    """The named method with NAME=VALUE settings put in; UserError for what it does not have, and
    for a value of another kind than the default's (a truth value is no number)."""
    method, given = METHODS[known(name, METHODS, "Unknown method")], {}
    usual = {field.name: getattr(method, field.name) for field in fields(method)}
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign or key not in usual:
            choices = ", ".join(sorted(usual)) or "none: it has no settings"
            remedy = f"write NAME=VALUE with one of {choices}"
            raise UserError(f"--set {setting} is no setting of {name}; {remedy}.")
        value, kind = literal(text), type(usual[key])
        fits = isinstance(value, WIDER.get(kind, kind))
        if not fits or isinstance(value, bool) != (kind is bool):
            expected = f"a value like {usual[key]!r}, the default of {name}'s {key}"
            raise fault(f"--set {setting}", f"is a {type(value).__name__}", expected, "give one")
        given[key] = value
    return replace(method, **given)


ABOUT = {  # beside the decoder: what is trained | what folds into the base | when to take it
    "decoder_only": "the mask decoder alone | everything | the floor; least memory and time",
    "full": "every weight | everything | much data, much memory, one task",
    "lora": "a low-rank path beside qkv | everything | the first to try, and the comparison",
    "conv_lora": "LoRA with convolution experts by scale | nothing | to compare with the paper",
    "fixed_conv": "LoRA with one 3x3 | the centre tap | local structure, without a search",
    "nas_lora": "LoRA with searched operators | the centre tap | operators that nobody has tried",
    "nas_pc_lora": "NAS-LoRA on a part of the rank | the centre tap | a search with less memory",
}


def told() -> str:
    """A line a method; of one that ABOUT does not know, what its class says of itself."""
    lines = [f"{'--method':<13}{'trains':<40}{'folds':<16}take it for"]
    for name, method in METHODS.items():
        own = " ".join((type(method).__doc__ or "").split()).split(". ")[0]
        trains, folds, when = (*ABOUT.get(name, own).split(" | "), "", "")[:3]
        lines.append(f"{name:<13}{trains:<40}{folds:<16}{when}".rstrip())
    return "\n".join(lines)
