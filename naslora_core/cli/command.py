"""What a command is: a decorated function, its options, and the parser of all of them."""

from __future__ import annotations

import argparse
import ast
import math
from collections.abc import Callable

COMMANDS: dict[str, tuple[Callable, list, dict]] = {}


def option(*names: str, **how) -> tuple[tuple[str, ...], dict]:
    """One argument of a command, spelled as for argparse's `add_argument`."""
    return names, how


MODEL = option("--model", default="sam_nano", help="sam_nano, vit_b, vit_l or vit_h")
BASE = option(
    "--checkpoint", metavar="FILE", help="weights of the base, where they are not the usual"
)
GROUPS = option("--groups", metavar="REGEX", help="its first group names the patient or sequence")
DEVICE = option("--device", default="auto", metavar="NAME", help="cpu, cuda; auto: a GPU if any")


def command(*options, needs_packages: bool = True, takes_more: bool = False):
    """Register a function `f(arguments)` under its name; its docstring is the help.

    takes_more: words unknown to us reach it as a second argument, for a tool that it calls.
    """

    def register(function: Callable) -> Callable:
        facts = {"needs_packages": needs_packages, "takes_more": takes_more}
        COMMANDS[function.__name__.rstrip("_").replace("_", "-")] = (function, list(options), facts)
        return function

    return register


def literal(text: str):
    """The value of NAME=VALUE: a Python literal, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def number_of(kind: type, least: float, open_end: bool = False):
    """An argparse type: a finite number from `least` on, or above it where that end is open."""
    wanted = f"a {'whole ' if kind is int else ''}number {'above' if open_end else 'from'} {least}"

    def read(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < least or (open_end and value == least):
            raise argparse.ArgumentTypeError(f"{text} is not {wanted}; give one")
        return value

    return read


count, whole, positive = number_of(int, 1), number_of(int, 0), number_of(float, 0, open_end=True)


class Help(argparse.HelpFormatter):
    """Help that ends in the option's default, where there is one to tell."""

    def _get_help_string(self, action: argparse.Action) -> str:
        told, value = action.help or "", action.default
        said = "default" in told or not told
        if said or value in (None, argparse.SUPPRESS, []) or value is False:
            return told
        value = " ".join(map(str, value)) if isinstance(value, list) else value
        return f"{told} (default: {value})"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all registered commands."""
    parser = argparse.ArgumentParser(prog="python -m naslora_core", description=__doc__)
    parser.description = "The NAS-LoRA workbook: lessons, tests and tools."
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (function, options, facts) in COMMANDS.items():
        text = " ".join((function.__doc__ or "").split())
        short = text.split(". ")[0].rstrip(".")
        one = commands.add_parser(name, help=short, description=text, formatter_class=Help)
        for names, how in options:
            one.add_argument(*names, **how)
        one.set_defaults(run=function, **facts)
    return parser
