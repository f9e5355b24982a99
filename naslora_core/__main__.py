"""`python -m naslora_core COMMAND`: makes its own environment where there is none, then obeys."""

from __future__ import annotations  # an old Python must get as far as its message

import os
import sys
from importlib import import_module
from importlib.util import find_spec

from naslora_core.cli import build_parser
from naslora_core.errors import UserError


def main(words: list[str]) -> int:
    """Run one command; a UserError is one line on stderr and exit status 2."""
    arguments, rest = build_parser().parse_known_args(words)
    try:
        if rest and not arguments.takes_more:
            raise UserError(
                f"{arguments.command} does not know {rest[0]!r}; expected what `python -m "
                f"naslora_core {arguments.command} --help` lists; mend it."
            )
        if arguments.needs_packages and find_spec("naslora_workbook"):
            from naslora_workbook.publishing.environment import enter

            enter(words)
            import_module("naslora_workbook.lessons.domains")  # registers the drawn domains
        return arguments.run(arguments, *([rest] if arguments.takes_more else [])) or 0
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What was finished is kept; start again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our lines, as `head` does, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
