"""Exercises that check themselves: your function beside a reference, on random inputs.

`checks.ex_1_2(answer)` says "not attempted yet" (a stub stops nothing), shows target and yours as
a picture with a sentence that helps, or says what a right answer has proved.
"""

import copy
import html
import importlib
import json
import os
import pkgutil
import re
import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import naslora_workbook.lessons.exercises
from naslora_core.files import write_atomic
from naslora_workbook.lessons.exercises.compare import compare, picture_of

OPEN, WRONG, SOLVED = "not attempted yet", "not yet right", "right"
TRIALS = 5
ROOM = str(Path(__file__).parent)  # whose frames are not the learner's, nor are a library's
OTHERS = (ROOM, *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
Cases = Sequence[tuple] | Callable[[np.random.Generator], tuple]


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


def check(
    number: str,
    answer: Callable,
    reference: Callable,
    cases: Cases,
    hint: str = "",
    proves: str = "",
    tolerance: float = 1e-5,
    mistakes: Mapping[str, Callable] | None = None,
) -> Verdict:
    """Compare `answer` with `reference` on every case; the first difference decides.

    cases: argument tuples, or a function (generator) -> arguments, drawn TRIALS times. Results may
    be arrays, tensors, numbers, strings, or lists and dicts of them. hint: a sentence for a wrong
    answer; proves: one for a right one; mistakes: a sentence for every common wrong answer, with a
    function that makes it: it replaces the hint where yours equals that function's result.
    Never raises because of the answer.
    """
    rng = np.random.default_rng(0)
    for arguments in [cases(rng) for _ in range(TRIALS)] if callable(cases) else cases:
        target = reference(*copy.deepcopy(arguments))
        try:
            yours = answer(*copy.deepcopy(arguments))
        except NotImplementedError:
            return Verdict(number, OPEN)
        except Exception as error:
            return Verdict(number, WRONG, f"{_stopped(error)} {hint}".strip())
        difference = compare(target, yours, tolerance)
        if difference:
            picture = picture_of(target, yours, tolerance)
            found = _recognised(mistakes or {}, arguments, yours, tolerance)
            said = f"{found} {difference}" if found else f"{difference} {hint}".strip()
            return Verdict(number, WRONG, said, picture)
    _remember(number)
    return Verdict(number, SOLVED, proves)


def _recognised(
    mistakes: Mapping[str, Callable], arguments: tuple, yours: Any, tolerance: float
) -> str:
    """The sentence of the first mistake that gives the same result; empty where none does."""
    for sentence, mistake in mistakes.items():
        try:
            result = mistake(*copy.deepcopy(arguments))
        except Exception:  # a mistake that this case would stop
            continue
        if not compare(result, yours, tolerance):
            return sentence
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
    for module in pkgutil.iter_modules(naslora_workbook.lessons.exercises.__path__):
        lesson = importlib.import_module(f"naslora_workbook.lessons.exercises.{module.name}")
        for name, function in vars(lesson).items():
            if re.fullmatch(r"ex_\d+_\d+", name):
                found[name[3:].replace("_", ".")] = (function.__doc__ or "").split("\n")[0]
    return found


class Report(dict):
    """Number -> (title, solved); displays as a table."""

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{n}</td><td>{html.escape(t)}</td><td>{'solved' if s else 'open'}</td></tr>"
            for n, (t, s) in self.items()
        )
        done = sum(s for _, s in self.values())
        return f"<p>{done} of {len(self)} exercises solved</p><table>{rows}</table>"


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
        lesson = importlib.import_module(
            f"naslora_workbook.lessons.exercises.lesson_{int(found[1]):02d}"
        )
        return getattr(lesson, name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise AttributeError(f"there is no exercise {name[3:].replace('_', '.')}") from error
