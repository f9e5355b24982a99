"""Run lessons through papermill into build/workbook, measure them, and publish their pages.

Everything is made in `.tmp` and moved into place when whole, so stopping at any moment is safe.
"""

import os
import shutil
import sys
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat
import papermill
import psutil
from papermill.exceptions import PapermillExecutionError

from naslora_core.cli import literal
from naslora_core.cpu_quota import allowed_cpus
from naslora_core.errors import UserError, known
from naslora_core.files import write_atomic
from naslora_workbook.lessons import headline
from naslora_workbook.publishing.environment import ROOT
from naslora_workbook.publishing.lesson import NOTEBOOKS, Lesson, chosen_lessons, lessons

OUT = ROOT / "build" / "workbook"
KERNEL = "python3"
QUIET = ["--IPKernelApp.log_level=ERROR"]  # kernels here listen on this machine only


@dataclass(frozen=True)
class Outcome:
    """What one lesson cost (seconds, peak MB of its processes) and ended in."""

    lesson: str
    seconds: float
    peak_mb: float
    headline: dict = field(default_factory=dict)
    failure: str = ""


def prepare_kernels(sliders: str) -> None:
    """This environment's kernel, all CPUs that it may use, no widget that needs a kernel.

    sliders: `panel` for small multiples, `frames` for pictures baked under a slider.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(allowed_cpus()))
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    os.environ["NASLORA_STATIC"] = sliders


def given_parameters(data: str | None, profile: str | None, settings: list[str]) -> dict:
    """Parameters from the command line; DATA must be a folder and becomes an absolute path."""
    given = {}
    if profile:
        from naslora_workbook.lessons.profiles import PROFILES  # it imports torch

        given["PROFILE"] = known(profile, PROFILES, "There is no profile")
    if data:
        if not Path(data).is_dir():
            raise UserError(f"There is no folder {data}; DATA names one with images/ and masks/.")
        given["DATA"] = str(Path(data).resolve())
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign:
            raise UserError(f"--set {setting} lacks a value; write --set NAME=VALUE.")
        given[name] = literal(value)
    return given


def run_workbook(
    number: int | None = None,
    given: dict | None = None,
    notebooks: Path = NOTEBOOKS,
    out: Path = OUT,
    record: bool = False,
) -> int:
    """Run all lessons, or one; 0 if every lesson ran to its end, else 1.

    DATA without a number runs the lessons that take DATA. Raises UserError before anything runs
    if a lesson does not declare a parameter that it is given.
    """
    from naslora_workbook.publishing.book import publish

    given = given or {}
    if record and (given or number is not None):
        raise UserError(
            "--record measures all lessons as they stand; leave out --lesson, --data, --profile "
            "and --set."
        )
    chosen = _that_take(given, chosen_lessons(number, notebooks), number)
    prepare_kernels("frames")
    aside = out / ".tmp"
    shutil.rmtree(aside, ignore_errors=True)  # what a killed run left
    aside.mkdir(parents=True)
    outcomes = [run_lesson(lesson, given, out) for lesson in chosen]
    shutil.rmtree(aside)
    index = publish(out, lessons(notebooks))
    print(f"\n{summary(outcomes)}\n\nOpen {index}")
    if record and not any(o.failure for o in outcomes):
        _record(outcomes)
    return int(any(o.failure for o in outcomes))


class PeakMemory(AbstractContextManager):
    """`with PeakMemory() as peak: ...`, then `peak.mb`: resident MB of all child processes at their
    worst moment together, sampled ten times a second; shared pages count once for each."""

    def __init__(self):
        self.mb, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __exit__(self, *error) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._done.wait(0.1):
            self.mb = max(self.mb, sum(map(_resident, me.children(recursive=True))) / 1e6)


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0


def run_lesson(lesson: Lesson, given: dict, out: Path) -> Outcome:
    """Run one lesson in a kernel of its own and put the executed notebook into `out`."""
    aside, start, failed = out / ".tmp" / lesson.path.name, time.monotonic(), False
    cells = len(nbformat.read(lesson.path, 4).cells)
    print(f"{lesson.name}: {cells} cells", file=sys.stderr, flush=True)
    how = {"kernel_name": KERNEL, "extra_arguments": QUIET, "cwd": lesson.path.parent}
    bar = {"desc": lesson.name, "disable": None, "leave": False}
    with PeakMemory() as peak:
        try:
            papermill.execute_notebook(lesson.path, aside, given, progress_bar=bar, **how)
        except (PapermillExecutionError, RuntimeError):  # RuntimeError: the kernel died
            failed = True
    notebook = nbformat.read(aside, 4)
    cost = round(time.monotonic() - start, 1), round(peak.mb)
    why = stopping_point(notebook) if failed else ""
    outcome = Outcome(lesson.name, *cost, headline.read(notebook), why)
    notebook.metadata["naslora"] = asdict(outcome)
    write_atomic(aside, nbformat.writes(notebook))
    aside.replace(out / lesson.path.name)
    said = f"{_said(outcome) if failed else 'done'} ({cost[0]:.0f} s, {cost[1]} MB)"
    print(f"{lesson.name}: {said}", file=sys.stderr, flush=True)
    return outcome


def stopping_point(notebook) -> str:
    """The code cell that failed, numbered as the lesson shows it, its first line and its error."""
    code = [c for c in notebook.cells if c.cell_type == "code"]
    own = [c for c in code if "injected-parameters" not in c.metadata.get("tags", [])]
    for number, cell in enumerate(own, 1):
        place = f"cell [{number}] `{_first(cell.source)}`"
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"{place}: {output.ename}: {_first(output.evalue)}"
        if cell.source.strip() and cell.execution_count is None:
            return f"{place}: its process ended (often: out of memory)"
    return "after its last cell"


def _first(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def summary(outcomes: list[Outcome]) -> str:
    """The closing table: lesson, seconds, peak MB, headline numbers or the cell that failed."""
    from naslora_workbook.results.labels import markdown  # it imports torch

    rows = [[o.lesson, f"{o.seconds:.0f}", f"{o.peak_mb:.0f}", _said(o)] for o in outcomes]
    if len(outcomes) > 1:
        seconds, most = sum(o.seconds for o in outcomes), max(o.peak_mb for o in outcomes)
        rows.append(["all", f"{seconds:.0f}", f"{most:.0f}", ""])
    return markdown(("lesson", "seconds", "peak MB", "headline"), rows)


def _that_take(given: dict, chosen: list[Lesson], number: int | None) -> list[Lesson]:
    """The lessons to run; UserError where one does not declare a parameter that it is given."""
    declared = {x: set(papermill.inspect_notebook(x.path)) for x in chosen}
    if "DATA" in given and number is None:
        chosen = [x for x in chosen if "DATA" in declared[x]]
        if not chosen:
            raise UserError("No lesson takes DATA; leave it out.")
    for lesson in chosen:
        if unknown := sorted(set(given) - declared[lesson]):
            names = ", ".join(sorted(declared[lesson])) or "none"
            raise UserError(f"{lesson.name} has no parameter {unknown[0]}; it has: {names}.")
    return chosen


def _said(outcome: Outcome) -> str:
    pairs = (f"{name.replace('_', ' ')} {value}" for name, value in outcome.headline.items())
    return f"FAILED in {outcome.failure}" if outcome.failure else ", ".join(pairs)


def _record(outcomes: list[Outcome]) -> None:
    """Keep the costs, and bring every page and lesson that shows a minute up to date."""
    from naslora_workbook.publishing.refresh import refresh
    from naslora_workbook.publishing.tables import write_tables
    from naslora_workbook.research.provenance import provenance
    from naslora_workbook.results.records import keep, measured

    name = "measurements/workbook"
    costs = {o.lesson: {"seconds": o.seconds, "peak_mb": o.peak_mb} for o in outcomes}
    facts = provenance("python -m naslora_core workbook --record")
    whole = dict(sorted((measured(name)["lessons"] | costs).items()))
    keep(name, [{"lessons": whole, "provenance": facts}])
    write_tables()
    refresh()
