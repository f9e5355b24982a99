"""Exercises that check themselves: your function beside a reference, on random inputs.

`checks.ex_1_2(answer)` says "not attempted yet" (a stub stops nothing), shows target and yours as
a picture with a sentence that helps, or says what a right answer has proved.
"""

import copy
import html
import importlib
import inspect
import json
import os
import pkgutil
import re
import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from naslora_core.files import write_atomic
from naslora_workbook.figures.picture import html_table
from naslora_workbook.lessons import exercises as lessons
from naslora_workbook.lessons.exercises.compare import compare, picture_of

OPEN, WRONG, SOLVED = "not attempted yet", "not yet right", "right"
TRIALS = 5
ROOM = Path(__file__).parent  # whose frames are not the learner's, nor are a library's
OTHERS = (str(ROOM), *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))


@dataclass(frozen=True)
class Verdict:
    """state: OPEN, WRONG or SOLVED; sentence: what was found; picture: of target and yours."""

    number: str
    state: str
    sentence: str = ""
    picture: Any = None

    def __repr__(self) -> str:
        return f"Exercise {self.number}: {self.state}" + f". {self.sentence}" * bool(self.sentence)

    def _repr_html_(self) -> str:
        picture = self.picture.html if self.picture else ""
        said = html.escape(repr(self).partition(": ")[2])
        return f"<p><b>Exercise {self.number}:</b> {said}</p>{picture}"


@cache
def sentences() -> dict[str, dict[str, str]]:
    """What is said of each exercise: hint (to a wrong answer), proves (to a right one), and what
    replaces the hint for every mistake."""
    return yaml.safe_load((ROOM / "exercises/sentences.yml").read_text())


def check(
    number: str,
    answer: Callable | tuple[Callable, ...],
    reference: Callable | tuple[Callable, ...],
    cases: Sequence[tuple] | Callable[[np.random.Generator], tuple],
    tolerance: float = 1e-5,
    seen: Callable = lambda function, *arguments: function(*arguments),
    **mistakes: Callable | tuple[Callable, ...],
) -> Verdict:
    """Compare `answer` with `reference` on every case; the first difference decides.

    cases: argument tuples, or a function (generator) -> arguments, drawn TRIALS times. seen: what
    of an answer is compared, (answer, *arguments) -> arrays, tensors, numbers, strings, or lists
    and dicts of them. mistakes: common wrong answers, by the names of their `sentences`.
    Never raises because of the answer.
    """

    def result(function, arguments):
        return seen(function, *copy.deepcopy(arguments))

    said, rng = sentences().get(number, {}), np.random.default_rng(0)
    for arguments in [cases(rng) for _ in range(TRIALS)] if callable(cases) else cases:
        target = result(reference, arguments)
        try:
            yours = result(_returning(answer) if callable(answer) else answer, arguments)
        except NotImplementedError:
            return Verdict(number, OPEN)
        except _NothingReturned:
            yours = None
        except Exception as error:
            return Verdict(number, WRONG, f"{_stopped(error)} {said.get('hint', '')}".strip())
        difference = compare(target, yours, tolerance)
        if difference:
            name = _recognised(mistakes, partial(result, arguments=arguments), yours, tolerance)
            told = (said[name], difference) if name else (difference, said.get("hint", ""))
            picture = picture_of(target, yours, tolerance)
            return Verdict(number, WRONG, " ".join(told).strip(), picture)
    _remember(number)
    return Verdict(number, SOLVED, said.get("proves", ""))


def exercise(title: str, reference, **how) -> Callable:
    """Make of a function `ex_N_M`, which gives the cases, the check of exercise N.M.

    The function draws the arguments of one case from a generator, or lists those of every case.
    how: as for `check`.
    """

    def made(cases: Callable) -> Callable:
        number = ".".join(cases.__name__.split("_")[1:])
        draws = inspect.signature(cases).parameters

        def checked(answer: Callable) -> Verdict:
            return check(number, answer, reference, cases if draws else cases(), **how)

        checked.__doc__ = title
        return checked

    return made


class _NothingReturned(Exception):
    """An answer returned None."""


def _returning(answer: Callable) -> Callable:
    """The answer, stopped where it returns None: `seen` need not ask."""

    def asked(*arguments):
        found = answer(*arguments)
        if found is None:
            raise _NothingReturned
        return found

    return asked


def _recognised(mistakes: Mapping, result: Callable, yours: Any, tolerance: float) -> str:
    """The name of the first mistake that gives the same result; empty where none does."""
    for name, mistake in mistakes.items():
        try:
            if not compare(result(mistake), yours, tolerance):
                return name
        except Exception:  # a mistake that this case would stop
            continue
    return ""


def _stopped(error: Exception) -> str:
    """The error, with the line of the learner's own code where it arose, if it did."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f.lineno for f in frames if not f.filename.startswith(OTHERS)]
    where = f" in line {own[-1]} of its cell" if own else ""
    return f"Your function stopped with {type(error).__name__}{where}: {error}."


def solved_file() -> Path:
    """Where solved exercises are kept: $NASLORA_SOLVED, else solved.json in this folder."""
    return Path(os.environ.get("NASLORA_SOLVED", "solved.json"))


def _solved() -> list[str]:
    try:
        return list(json.loads(solved_file().read_text()))
    except (OSError, ValueError):
        return []


def _remember(number: str) -> None:
    known = set(_solved())
    if number not in known:
        write_atomic(solved_file(), json.dumps(sorted({*known, number}, key=_order)) + "\n")


def _order(number: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", number)]


def exercises() -> dict[str, str]:
    """Number and title of every exercise there is."""
    found = {}
    for module in pkgutil.iter_modules(lessons.__path__):
        lesson = importlib.import_module(f"{lessons.__name__}.{module.name}")
        for name, function in vars(lesson).items():
            if re.fullmatch(r"ex_\d+_\d+", name):
                found[name[3:].replace("_", ".")] = (function.__doc__ or "").split("\n")[0]
    return found


class Report(dict):
    """Number -> (title, solved); displays as a table."""

    def _repr_html_(self) -> str:
        rows = ((n, title, "solved" if done else "open") for n, (title, done) in self.items())
        solved = sum(done for _, done in self.values())
        return f"<p>{solved} of {len(self)} exercises solved</p>{html_table(rows)}"


def report() -> Report:
    """Every exercise of the workbook with what is solved so far (kept in `solved_file()`)."""
    solved = set(_solved())
    titles = dict.fromkeys(solved, "") | exercises()
    return Report({n: (titles[n], n in solved) for n in sorted(titles, key=_order)})


def __getattr__(name: str):
    """`checks.ex_1_2` is `ex_1_2` of `lessons/exercises/lesson_01.py`."""
    found = re.fullmatch(r"ex_(\d+)_\d+", name)
    if not found:
        raise AttributeError(f"naslora_workbook.lessons.checks has no {name!r}")
    try:
        lesson = importlib.import_module(f"{lessons.__name__}.lesson_{int(found[1]):02d}")
        return getattr(lesson, name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise AttributeError(f"there is no exercise {name[3:].replace('_', '.')}") from error
