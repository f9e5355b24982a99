"""The preregistered comparison: written down, committed, then run cell by cell, and judged.

    python -m naslora_core protocol

runs what is missing of `results/protocol.yml` (one JSON a run in a folder, so the grid grows over
days and machines; `pack --add` moves it to the recorded runs) and prints the verdict once every run
is there. Choices are made on development domains. The test domains run only where the file is
committed as it stands, and every record carries its digest.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from naslora_core.data import open_data
from naslora_core.errors import UserError, known
from naslora_workbook.lessons.domains import DOMAINS
from naslora_workbook.lessons.profiles import profile
from naslora_workbook.research.bootstrap import Interval, nested
from naslora_workbook.research.compare import KNOWN, Setting, compare
from naslora_workbook.research.learning_rate_selection import even_rates
from naslora_workbook.results.records import RESULTS, experiments, recorded, runs

FILE = RESULTS / "protocol.yml"
RUNS = "registered/runs"  # the recorded ones
CAPTURED = {"capture_output": True, "text": True, "check": False}
NEW = Path("build/registered")  # where runs go that are not recorded yet
GIVEN = ("digest", "folder")  # by the file as it lies there, not by a key in it
AHEAD = "ahead of {} over all domains"  # surely: by an interval without zero
GOAL = (  # the first lines of protocol.yml: a claim, the rival, what the rival's row has to show
    (AHEAD.format("LoRA") + ", surely", "lora", lambda row: row["all"].low > 0),
    (AHEAD.format("Conv-LoRA") + ", surely", "conv_lora", lambda row: row["all"].low > 0),
    (AHEAD.format("the fixed 3x3") + ", in the mean", "fixed_conv", lambda r: r["all"].mean > 0),
    ("on no domain wholly behind LoRA", "lora", lambda row: not behind(row)),
)


@dataclass(frozen=True)
class Protocol:
    """development, test: domains; subject: the method that is judged against the others; setting,
    seeds: those of `compare`; rates: parts of the recorded "registered" (or folders beside the
    file) with trials, trials: the learning rates that each method must have been tried with there;
    level, draws: of the intervals, over `metric`; folder: where the file lies."""

    development: tuple[str, ...]
    test: tuple[str, ...]
    methods: tuple[str, ...]
    subject: str
    seeds: tuple[int, ...]
    setting: Setting
    rates: tuple[str, ...]
    trials: tuple[float, ...]
    metric: str
    level: float
    draws: int
    digest: str = field(repr=False)
    folder: Path = field(repr=False)

    def __post_init__(self):
        both = [*self.development, *self.test]
        if len(set(both)) < len(both) or not self.development or not self.test:
            raise UserError(
                f"The protocol's development domains {self.development} and test domains "
                f"{self.test} share one, or are empty; name each domain once."
            )
        if self.subject not in self.methods or len(set(self.seeds)) < len(self.seeds):
            raise UserError(
                f"The protocol judges {self.subject!r} with seeds {self.seeds}; the subject is one "
                f"of its methods ({', '.join(self.methods)}), and each seed is listed once."
            )
        for method in self.methods:
            known(method, KNOWN, "Unknown method")

    @property
    def domains(self) -> tuple[str, ...]:
        """All of them, development first."""
        return (*self.development, *self.test)

    def cells(self, domains: Sequence[str] = (), seeds: Sequence[int] = ()) -> list:
        """Domain and seed of every paired cell, of all or of those named; UserError for a name or
        seed that it does not have. All methods of a cell see the same passes."""
        for name in domains:
            known(name, self.domains, "The protocol has no domain")
        for seed in seeds:
            known(seed, self.seeds, "The protocol has no seed")
        return list(product(domains or self.domains, seeds or self.seeds))


def read(path: Path = FILE) -> Protocol:
    """The protocol of a file; UserError where it is no YAML or has other keys."""
    import yaml

    try:
        text = path.read_bytes().replace(b"\r\n", b"\n")  # of a checkout on Windows
        found, digest = yaml.safe_load(text), hashlib.sha256(text).hexdigest()[:12]
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        given["setting"] = Setting(**given["setting"])
        return Protocol(**given, digest=digest, folder=Path(path).parent)
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no protocol ({error}); expected the keys "
            f"{', '.join(k for k in Protocol.__dataclass_fields__ if k not in GIVEN)}."
        ) from error


def committed(path: Path = FILE) -> str:
    """The commit that holds the file as it stands; UserError where none does."""
    if shutil.which("git") is None:
        raise UserError(
            f"There is no git here, which says whether {path.name} is committed, and test domains "
            "run only then; install it, or run the development domains alone."
        )
    # of commits that wrote its content; one that only moved the file is passed over
    log = ["log", "--follow", "--diff-filter=AM", "-1", "--format=%h of %cs"]
    logged, state = (
        subprocess.run(["git", "-C", path.parent, *words, "--", path.name], **CAPTURED).stdout
        for words in (log, ["status", "--porcelain"])
    )
    if not logged.strip() or state.strip():
        raise UserError(
            f"{path.name} is not committed as it stands, and test domains run only under a "
            "committed protocol; commit it first, or run its development domains alone."
        )
    return logged.strip()


def located(name: str) -> str:
    """A domain's own name, or the folder of real images: in $NASLORA_DATA, else ../shared/data."""
    places = [os.environ.get("NASLORA_DATA"), RESULTS.parents[2] / "shared" / "data"]
    found = [Path(p) / name for p in places if p and (Path(p) / name).is_dir()]
    if name not in DOMAINS and not found:
        raise UserError(
            f"The images of {name} were not found; set NASLORA_DATA to the folder that holds "
            f"{name}/, or name other domains."
        )
    return name if name in DOMAINS else str(found[0])


def run(
    protocol: Protocol, sam, command: str, cells: Sequence, path: Path = FILE, out: Path = NEW
) -> None:
    """Run what is missing of `cells`, all methods.

    Raises UserError before anything runs where a test domain is among the cells and the file is not
    committed, where images are missing, or where a record was made under another protocol.
    """
    if any(name in protocol.test for name, _ in cells):
        committed(path)
    places = {name: located(name) for name, _ in cells}
    results(protocol, out)
    how = command, _rates(protocol), {"protocol": protocol.digest}, _packed(protocol)
    for name, seed in cells:
        data = open_data(places[name], profile("laptop"))
        compare(sam, data, protocol.methods, [seed], out, protocol.setting, *how)


def _rates(protocol: Protocol) -> dict[str, float]:
    """Each method's learning rate, chosen by equal trials apart from what the verdict is about."""
    p, beside = protocol, [protocol.folder / name for name in protocol.rates]
    places = [f if f.is_dir() else f"registered/{f.name}" for f in beside]
    return even_rates(places, p.methods, p.trials, p.development, p.seeds)


def _packed(protocol: Protocol) -> list[dict]:
    """The recorded runs that lie beside the protocol's file."""
    return recorded(RUNS, protocol.folder) if RUNS in experiments(protocol.folder) else []


def results(protocol: Protocol, out: Path = NEW) -> list[dict]:
    """The records that are there, packed or in `out`; UserError for one of another protocol."""
    records = _packed(protocol) + (runs(out) if out.is_dir() else [])
    for record in records:
        if record.get("protocol") != protocol.digest:
            raise UserError(
                f"A record of {record['method']} on {record['data']} was made under protocol "
                f"{record.get('protocol')}, this one is {protocol.digest}; a changed protocol "
                "starts an empty folder."
            )
    return records


def registered() -> tuple[Protocol, list[dict]]:
    """The registered protocol and all of its records; UserError while some are missing."""
    protocol = read()
    records = results(protocol)
    if waiting(records, protocol):
        raise UserError(f"{waiting(records, protocol)} Run: python -m naslora_core protocol.")
    return protocol, records


def differences(
    records: Sequence[Mapping], protocol: Protocol, rival: str, subject: str = ""
) -> dict[str, list]:
    """subject (the protocol's own, if not named) - rival by domain, one a seed, where both ran."""
    of = {(r["data"], r["method"], r["seed"]): r["mean"][protocol.metric] for r in records}
    subject, found = subject or protocol.subject, {}
    for name, seed in protocol.cells():
        mine, other = (of.get((name, method, seed)) for method in (subject, rival))
        if mine is not None and other is not None:
            found.setdefault(name, []).append(mine - other)
    return found


def verdict(records: Sequence[Mapping], protocol: Protocol) -> dict[str, dict[str, Interval]]:
    """By rival: the interval over "all" domains, over "test" ones, and of each domain by itself."""
    table = {}
    for rival in (m for m in protocol.methods if m != protocol.subject):
        each = differences(records, protocol, rival)
        parts = {"all": each, "test": {n: d for n, d in each.items() if n in protocol.test}}
        parts |= {name: {name: values} for name, values in each.items()}
        filled = {name: part for name, part in parts.items() if part}
        row = {n: nested(part, protocol.level, protocol.draws) for n, part in filled.items()}
        table |= {rival: row} if row else {}
    return table


def goal(table: Mapping[str, Mapping[str, Interval]]) -> dict[str, bool]:
    """Each claim of GOAL whose rival takes part in a verdict, and whether it holds."""
    return {claim: holds(table[rival]) for claim, rival, holds in GOAL if rival in table}


def behind(row: Mapping[str, Interval]) -> list[str]:
    """The single domains whose interval lies wholly below zero."""
    return [n for n, interval in row.items() if n not in ("all", "test") and interval.high < 0]


def waiting(records: Sequence[Mapping], protocol: Protocol) -> str:
    """How many runs are missing, in a sentence; empty once all are there.

    Nobody should be tempted to stop where the answer pleases, so there is no verdict before.
    """
    ran = sum(r["method"] in protocol.methods for r in records)
    whole = len(protocol.cells()) * len(protocol.methods)
    return "" if ran == whole else f"{ran} of {whole} runs; the verdict waits for all of them."


def verdict_text(records: Sequence[Mapping], protocol: Protocol) -> str:
    """The verdict as lines of text, or what it waits for."""
    if waiting(records, protocol):
        return waiting(records, protocol)
    table = verdict(records, protocol)
    lines = [f"{protocol.subject} minus each rival, {protocol.metric}:"]
    for rival, row in table.items():
        lines += [f"{rival:>16}  {name:>16}  {interval}" for name, interval in row.items()]
    lines += [f"{'yes' if holds else 'no':>16}  {claim}" for claim, holds in goal(table).items()]
    return "\n".join(lines)
