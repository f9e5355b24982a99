"""`naslora COMMAND` or `python -m naslora_core COMMAND`.

An interpreter that has the packages runs the command; in a checkout without them, the environment
is made first.
"""

from __future__ import annotations  # an old Python must get as far as its message

import os
import signal
import sys

import naslora_core


def main(words: list[str] | None = None) -> int:
    """Run one command; what a user can correct is one line on stderr and exit status 2."""
    try:
        if signal.getsignal(signal.SIGINT) is naslora_core.stop:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for stream in (sys.stdout, sys.stderr):  # a terminal may not know a letter of a file's name
            getattr(stream, "reconfigure", lambda errors: None)(errors="backslashreplace")
        return _run(sys.argv[1:] if words is None else words)
    except KeyboardInterrupt:
        exec("")  # Python forgets an interrupted import, for which it would end by the signal
        print("Stopped. What was finished is kept; start again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our lines, as `head` does, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        print(_sentence(error), file=sys.stderr)
        return 2


def _sentence(error: OSError) -> str:
    """For a path that a command could not reach."""
    try:
        os.getcwd()
    except OSError:
        return "The folder in which you are is gone; expected one that exists; cd into another."
    return (
        f"{error.filename or 'A file'} cannot be reached ({error.strerror}); expected a path that "
        "you may read or write; correct its name or its permissions."
    )


def _run(words: list[str]) -> int:
    from importlib import import_module
    from importlib.util import find_spec

    from naslora_core.cli import parse
    from naslora_core.cpu_quota import limit_threads
    from naslora_core.errors import UserError

    installed = find_spec("naslora_workbook")
    workbook = import_module("naslora_workbook.cli") if installed else None  # enters its commands
    try:
        arguments, rest = parse(words)
        if arguments.needs_packages:
            os.getcwd()  # a folder that is gone would stop libraries in their midst
            if workbook:
                workbook.prepare(arguments, words)
        if told := limit_threads():
            print(told, file=sys.stderr)
        return arguments.run(arguments, *([rest] if arguments.takes_more else [])) or 0
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
