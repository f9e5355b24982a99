"""`naslora COMMAND` or `python -m naslora_core COMMAND`; a checkout makes its environment first."""

from __future__ import annotations  # an old Python must get as far as its message

import os
import sys
from importlib import import_module
from importlib.util import find_spec

from naslora_core.cli import parse
from naslora_core.cpu_quota import limit_threads
from naslora_core.errors import UserError


def main(words: list[str] | None = None) -> int:
    """Run one command; a UserError is one line on stderr and exit status 2."""
    words = sys.argv[1:] if words is None else words
    for stream in (sys.stdout, sys.stderr):  # a terminal may not know a letter of a file's name
        getattr(stream, "reconfigure", lambda errors: None)(errors="backslashreplace")
    try:
        return _run(words)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What was finished is kept; start again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our lines, as `head` does, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(words: list[str]) -> int:
    arguments, rest = parse(words)
    if arguments.needs_packages and find_spec("naslora_workbook"):
        from naslora_workbook.publishing.environment import enter

        enter(words)
        import_module("naslora_workbook.lessons.domains")  # registers the drawn domains
    if told := limit_threads():
        print(told, file=sys.stderr)
    return arguments.run(arguments, *([rest] if arguments.takes_more else [])) or 0


if __name__ == "__main__":
    sys.exit(main())
