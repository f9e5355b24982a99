"""The registered comparison: written down, committed, then run cell by cell, and judged.

    python -m naslora_core protocol

runs what is missing of `results/registered/protocol.yml` (one JSON a run, so the grid grows over
days and machines) and prints the verdict once all is there. Choices are made on development
domains; the test domains run only where the file is committed as it stands, and every record
carries its digest.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from naslora_core.data import open_data
from naslora_core.errors import UserError, known
from naslora_workbook.lessons.domains import DOMAINS
from naslora_workbook.lessons.profiles import profile
from naslora_workbook.research.compare import KNOWN, RECORDED, Setting, compare
from naslora_workbook.research.rates import even_rates

FILE = RECORDED / "registered" / "protocol.yml"
RESULTS = FILE.parent / "runs"
GIVEN = ("digest", "folder")  # by the file as it lies there, not by a key in it


@dataclass(frozen=True)
class Protocol:
    """development, test: domains; subject: the method that is judged against the others in
    `methods`; setting and seeds are those of `compare`; rates: folders of trials beside the file,
    trials: the learning rates that each method must have been tried with there; level, draws:
    of the intervals, over `metric`; folder: where the file lies."""

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

    def cells(
        self, domains: Sequence[str] = (), seeds: Sequence[int] = ()
    ) -> list[tuple[str, int]]:
        """Domain and seed of every paired cell, of all or of those named.

        All methods of a cell see the same passes. UserError for a name or seed it does not have.
        """
        for name in domains:
            known(name, self.domains, "The protocol has no domain")
        for seed in seeds:
            known(seed, self.seeds, "The protocol has no seed")
        return list(product(domains or self.domains, seeds or self.seeds))

    def asked(self, methods: Sequence[str] = ()) -> Sequence[str]:
        """The methods named, all where none is; UserError for one it does not have."""
        for method in methods:
            known(method, self.methods, "The protocol has no method")
        return methods or self.methods


def shared(cells: Sequence[tuple[str, int]], share: str) -> list[tuple[str, int]]:
    """Every N-th cell from the I-th for a share "I/N" of N jobs side by side."""
    first, _, jobs = share.partition("/")
    if not (first.isdigit() and jobs.isdigit() and 1 <= int(first) <= int(jobs)):
        raise UserError(f"--share {share} is no share; write I/N with I from 1 to N, as in 2/4.")
    return list(cells[int(first) - 1 :: int(jobs)])


def read(path: Path = FILE) -> Protocol:
    """The protocol of a file; UserError where it is no YAML or has other keys."""
    import yaml

    try:
        text = path.read_bytes()
        found = yaml.safe_load(text)
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        given["setting"] = Setting(**given["setting"])
        return Protocol(**given, digest=_digest(text), folder=Path(path).parent)
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no protocol ({error}); expected the keys "
            f"{', '.join(k for k in Protocol.__dataclass_fields__ if k not in GIVEN)}."
        ) from error


def _digest(text: bytes) -> str:
    """Twelve hex digits over a file, whatever the line endings of this system's checkout."""
    return hashlib.sha256(text.replace(b"\r\n", b"\n")).hexdigest()[:12]


def committed(path: Path = FILE) -> str:
    """The commit that holds the file as it stands; UserError where none does."""
    if shutil.which("git") is None:
        raise UserError(
            f"There is no git here, which says whether {path.name} is committed, and test domains "
            "run only then; install it, or run the development domains alone."
        )
    git = ["git", "-C", str(path.parent)]
    logged = subprocess.run(
        [*git, "log", "-1", "--format=%h of %cs", "--", path.name], capture_output=True, text=True
    )
    state = subprocess.run([*git, "status", "--porcelain", "--", path.name], capture_output=True)
    if logged.returncode or not logged.stdout.strip() or state.stdout.strip():
        raise UserError(
            f"{path.name} is not committed as it stands, and test domains run only under a "
            "committed protocol; commit it first, or run its development domains alone."
        )
    return logged.stdout.strip()


def located(name: str) -> str:
    """A domain's own name, or the folder of real images: in $NASLORA_DATA, else ../shared/data."""
    places = [os.environ.get("NASLORA_DATA"), RECORDED.parents[2] / "shared" / "data"]
    found = [Path(p) / name for p in places if p and (Path(p) / name).is_dir()]
    if name not in DOMAINS and not found:
        raise UserError(
            f"The images of {name} were not found; set NASLORA_DATA to the folder that holds "
            f"{name}/, or name other domains."
        )
    return name if name in DOMAINS else str(found[0])


def run(
    protocol: Protocol,
    sam,
    command: str,
    cells: Sequence[tuple[str, int]],
    methods: Sequence[str] = (),
    path: Path = FILE,
    out: Path = RESULTS,
) -> None:
    """Run what is missing of `cells`, all methods or those named.

    Raises UserError before anything runs where a method is not the protocol's, where a test domain
    is among the cells and the file is not committed, where images are missing, or where a record
    was made under another protocol.
    """
    chosen = protocol.asked(methods)
    if any(name in protocol.test for name, _ in cells):
        committed(path)
    places = {name: located(name) for name, _ in cells}
    results(protocol, out)
    rates, facts = _rates(protocol), {"protocol": protocol.digest}
    for name, seed in cells:
        data = open_data(places[name], profile("laptop"))
        compare(sam, data, chosen, [seed], out, protocol.setting, command, rates, facts)


def _rates(protocol: Protocol) -> dict[str, float]:
    """Each method's learning rate, chosen by equal trials apart from what the verdict is about."""
    folders, p = [protocol.folder / name for name in protocol.rates], protocol
    return even_rates(folders, p.methods, p.trials, p.development, p.seeds)


def results(protocol: Protocol, out: Path = RESULTS) -> list[dict]:
    """The records that are there; UserError for one of another protocol."""
    records = [json.loads(p.read_text()) for p in sorted(Path(out).glob("*.json"))]
    for record in records:
        if record.get("protocol") != protocol.digest:
            raise UserError(
                f"A record of {record['method']} on {record['data']} was made under protocol "
                f"{record.get('protocol')}, this one is {protocol.digest}; a changed protocol "
                "starts an empty folder."
            )
    return records
