"""What a command is: a decorated function, its options, and the parser of all of them."""

from __future__ import annotations

import argparse
import ast
import difflib
import math
import shlex
import textwrap
from collections.abc import Callable

from naslora_core.errors import UserError

COMMANDS: dict[str, tuple[Callable, tuple, dict]] = {}
GROUPS_OF_HELP = ("your images", "lessons", "research")


def option(*names: str, **how) -> tuple[tuple[str, ...], dict]:
    """One argument of a command, spelled as for argparse's `add_argument`."""
    return names, how


def command(*options, group: str, needs_packages: bool = True, takes_more: bool = False):
    """Register a function `f(arguments)` under its name; its docstring is the help.

    group: of GROUPS_OF_HELP. takes_more: words unknown to the parser reach the function as a second
    argument, for a tool that it calls.
    """

    def register(function: Callable) -> Callable:
        facts = {"needs_packages": needs_packages, "takes_more": takes_more, "group": group}
        name = function.__name__.rstrip("_").replace("_", "-")
        COMMANDS[name] = (function, options, facts)
        return function

    return register


def literal(text: str):
    """The value of NAME=VALUE: a Python literal, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def number_of(kind: type, least: float, open_end: bool = False, most: float = math.inf):
    """An argparse type: a finite number from `least` on, or above it where that end is open, and
    not above `most`."""
    wanted = f"a {'whole ' if kind is int else ''}number {'above' if open_end else 'from'} {least}"
    wanted += f" to {most}" if math.isfinite(most) else ""

    def read(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        low = value < least or (open_end and value == least)
        if not math.isfinite(value) or low or value > most:
            raise argparse.ArgumentTypeError(f"{text} is not {wanted}; give one")
        return value

    return read


count, whole, positive = number_of(int, 1), number_of(int, 0), number_of(float, 0, open_end=True)
share, side = number_of(float, 0, most=1), number_of(int, 16, most=8192)


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help that ends in the option's default, where there is one to tell."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        untold = not text or "default" in text or default is False or default in (None, [])
        return text if untold else super()._get_help_string(action)


def overview() -> str:
    """The help of all: your images' commands with a line each, the names of the others."""
    lines = ["usage: naslora COMMAND ...   (naslora COMMAND --help tells its options)", ""]
    for group in GROUPS_OF_HELP:
        names = [name for name, (*_, facts) in COMMANDS.items() if facts["group"] == group]
        told = textwrap.wrap(", ".join(names), 88)
        if group == GROUPS_OF_HELP[0]:
            told = [f"{name:<10} {_about(name).split('. ')[0].rstrip('.')}" for name in names]
        lines += [f"{group}:", *(f"  {line}" for line in told)] if names else []
    return "\n".join(lines) + "\n"


def _about(name: str) -> str:
    """A command's docstring as one line."""
    return " ".join((COMMANDS[name][0].__doc__ or "").split())


def build_parser() -> argparse.ArgumentParser:
    """The parser of all registered commands."""
    parser = argparse.ArgumentParser(prog="naslora")
    parser.format_help = overview
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for name, (function, options, facts) in COMMANDS.items():
        one = commands.add_parser(name, description=_about(name), formatter_class=Help)
        for names, how in options:
            one.add_argument(*names, **how)
        one.set_defaults(run=function, **facts)
    return parser


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Arguments and words left over; UserError with the nearest name for an unknown one."""
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = _near(words[0], COMMANDS, "naslora --help lists the commands")
        raise UserError(f"There is no command {words[0]!r}; {near}.")
    arguments, rest = build_parser().parse_known_args(words)
    if rest and not arguments.takes_more:
        flags = [flag for names, _ in COMMANDS[arguments.command][1] for flag in names]
        near = _near(rest[0], flags, f"naslora {arguments.command} --help lists what it takes")
        raise UserError(f"{arguments.command} does not know {rest[0]!r}; {near}.")
    return arguments, rest


def _near(word: str, choices, otherwise: str) -> str:
    near = difflib.get_close_matches(word, choices, 1)
    return f"perhaps {near[0]}" if near else otherwise


def first_note(notes: tuple[str, ...], data: str) -> str:
    """The first of what `check` notes about data, how many there are, and where to read all."""
    more = f" {len(notes) - 1} more note(s)." if len(notes) > 1 else ""
    return f"Note: {notes[0]}{more} All: naslora check {shlex.quote(data)}"
