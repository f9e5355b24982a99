"""The registered comparison: its protocol, committed before its first run, its runs, its verdict.

    python -m naslora_core protocol --runs build/protocol_3
    python -m naslora_core protocol

The first makes the runs of `results/protocol_3.yml` that are not recorded; the second prints the
verdict. A record holds the digest of its protocol's file.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import yaml

from naslora_core.data import open_data
from naslora_core.errors import UserError
from naslora_core.files import make_folder, write_atomic
from naslora_core.sam import load_sam
from naslora_workbook.lessons.domains import DOMAINS
from naslora_workbook.lessons.profiles import profile
from naslora_workbook.research.bootstrap import Interval, nested
from naslora_workbook.research.compare import Setting, compare, file_of
from naslora_workbook.research.learning_rate_selection import best_rates
from naslora_workbook.research.provenance import git
from naslora_workbook.results.records import RESULTS, experiments, keep, recorded

FIRST, FILE = RESULTS / "protocol.yml", RESULTS / "protocol_3.yml"  # FILE: the latest
COMMAND = "python -m naslora_core protocol --runs build/{}"
AHEAD = "ahead of {} over all domains, {}"  # surely: by an interval without zero
SURE = tuple(
    (AHEAD.format(label, "surely"), rival, lambda row: row["all"].low > 0)
    for label, rival in (("LoRA", "lora"), ("Conv-LoRA", "conv_lora"))
)
GOALS = {  # first lines of the protocols: a claim, the rival, what the rival's row has to show
    "protocol": (
        *SURE,
        (AHEAD.format("the fixed 3x3", "in the mean"), "fixed_conv", lambda r: r["all"].mean > 0),
        ("on no domain wholly behind LoRA", "lora", lambda row: not behind(row)),
    ),
    "protocol_3": (
        *SURE,
        (AHEAD.format("the fixed 5x5", "in the mean"), "fixed_5x5", lambda r: r["all"].mean > 0),
    ),
}


@dataclass(frozen=True)
class Protocol:
    """development, test: domains; subject: the method that is judged against the others; setting,
    seeds: those of `compare`; rates: recorded trials, trials: the learning rates that each method
    was tried with there; level, draws: of intervals, over `metric`; name, digest: of the file."""

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
    name: str
    digest: str = field(repr=False)

    @property
    def domains(self) -> tuple[str, ...]:
        """All of them, development first."""
        return (*self.development, *self.test)

    @property
    def part(self) -> str:
        """Where its runs are recorded."""
        return f"registered/{self.name}"


def read(path: Path = FILE) -> Protocol:
    """The protocol of a file."""
    text = path.read_bytes().replace(b"\r\n", b"\n")  # of a checkout on Windows
    found, digest = yaml.safe_load(text), hashlib.sha256(text).hexdigest()[:12]
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    given["setting"] = Setting(**given["setting"])
    return Protocol(**given, name=path.stem, digest=digest)


def committed(path: Path = FILE) -> str:
    """The commit that holds the file as it stands; UserError where none does."""
    if shutil.which("git") is None:
        raise UserError(
            f"There is no git here, which says whether {path.name} is committed, and test domains "
            "run only then; install it, or run the development domains alone."
        )
    folder, file = path.parent, ("--", path.name)
    # of commits that wrote its content; one that only moved the file is passed over
    log = "log", "--follow", "--diff-filter=AM", "-1", "--format=%h of %cs"
    logged = git(folder, *log, *file)
    if not logged or git(folder, "status", "--porcelain", *file):
        raise UserError(
            f"{path.name} is not committed as it stands, and test domains run only under a "
            "committed protocol; commit it first, or run its development domains alone."
        )
    return logged


def in_turn(jobs: Sequence, share: str, until: str) -> Iterator:
    """The I-th of each N jobs for a share "I/N"; none any more at `until`, HH:MM in UTC."""
    first, every = map(int, share.split("/"))
    for job in jobs[first - 1 :: every]:
        if until and time.strftime("%H:%M", time.gmtime()) >= until:
            print(f"stopped at {until}", flush=True)
            return
        yield job


def run(path: Path, out: Path, sets: Path, share: str = "1/1", until: str = "") -> None:
    """Make the missing runs of a protocol, seed by seed: the I-th of each N parts, into `out`.

    sets: the folder of the image sets that are not drawn; until: HH:MM in UTC, after which no part
    is begun. Raises UserError where the file is not committed.
    """
    committed(path)
    protocol, sam = read(path), load_sam()
    rates, facts = best_rates(*protocol.rates), {"protocol": protocol.digest}
    _unpack(protocol.part, make_folder(out))
    parts = list(product(protocol.seeds, protocol.domains))
    for seed, name in in_turn(parts, share, until):
        how = [seed], out, protocol.setting, COMMAND.format(protocol.name), rates, facts
        place = name if name in DOMAINS else str(sets / name)
        compare(sam, open_data(place, profile("laptop")), protocol.methods, *how)


def _unpack(part: str, out: Path) -> None:
    """One file for each run that is recorded, so that it is not made again."""
    for record in recorded(part) if part in experiments() else ():
        if not (file := out / file_of(record)).exists():
            write_atomic(file, json.dumps(record, indent=1) + "\n")


def pack(path: Path, out: Path) -> int:
    """Keep the runs of a folder in the results; of a genotype, both readings of every block."""
    found = [json.loads(file.read_text()) for file in sorted(out.glob("*.json"))]
    for record in found:
        if genotype := record.pop("genotype", None):
            readings = ("argmax", "projection")
            record["choice"] = {r: [block[r] for block in genotype["blocks"]] for r in readings}
    keep(read(path).part, found)
    return len(found)


def registered(path: Path = FILE) -> tuple[Protocol, list[dict]]:
    """The protocol of a file and all of its records; UserError where one was made under another
    protocol."""
    protocol = read(path)
    records = recorded(protocol.part)
    for record in records:
        if record["protocol"] != protocol.digest:
            raise UserError(
                f"A record of {record['method']} on {record['data']} was made under protocol "
                f"{record['protocol']}, {path.name} is now {protocol.digest}; put the file back "
                "as it was registered."
            )
    return protocol, records


def differences(
    records: Sequence[Mapping], protocol: Protocol, rival: str, subject: str = ""
) -> dict[str, list]:
    """subject (the protocol's own, if not named) - rival by domain, one a seed."""
    of = {(r["data"], r["method"], r["seed"]): r["mean"][protocol.metric] for r in records}
    subject = subject or protocol.subject
    return {
        name: [of[name, subject, seed] - of[name, rival, seed] for seed in protocol.seeds]
        for name in protocol.domains
    }


def against(records: Sequence[Mapping], protocol: Protocol, rival: str) -> dict[str, Interval]:
    """By method: minus the rival, over all domains, at a level corrected for their number."""
    others = [m for m in protocol.methods if m != rival]
    level = 1 - (1 - protocol.level) / len(others)
    leads = {m: differences(records, protocol, rival, m) for m in others}
    return {m: nested(each, level, protocol.draws) for m, each in leads.items()}


def verdict(records: Sequence[Mapping], protocol: Protocol) -> dict[str, dict[str, Interval]]:
    """By rival: the interval over "all" domains, over "test" ones, and of each domain by itself."""
    table = {}
    for rival in (m for m in protocol.methods if m != protocol.subject):
        each = differences(records, protocol, rival)
        parts = {"all": each, "test": {n: d for n, d in each.items() if n in protocol.test}}
        parts |= {name: {name: values} for name, values in each.items()}
        table[rival] = {n: nested(p, protocol.level, protocol.draws) for n, p in parts.items()}
    return table


def goal(table: Mapping[str, Mapping[str, Interval]], name: str = FILE.stem) -> dict[str, bool]:
    """Each claim of a protocol whose rival takes part in a verdict, and whether it holds."""
    claims = (c for c in GOALS.get(name, ()) if c[1] in table)
    return {claim: holds(table[rival]) for claim, rival, holds in claims}


def behind(row: Mapping[str, Interval]) -> list[str]:
    """The single domains whose interval lies wholly below zero."""
    return [n for n, interval in row.items() if n not in ("all", "test") and interval.high < 0]


def verdict_text(records: Sequence[Mapping], protocol: Protocol) -> str:
    """The verdict as lines of text."""
    table = verdict(records, protocol)
    lines = [f"{protocol.subject} minus each rival, {protocol.metric}:"]
    for rival, row in table.items():
        lines += [f"{rival:>16}  {name:>16}  {interval}" for name, interval in row.items()]
    claims = goal(table, protocol.name).items()
    lines += [f"{'yes' if holds else 'no':>16}  {claim}" for claim, holds in claims]
    return "\n".join(lines)
