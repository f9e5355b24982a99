"""Recorded files, and the sentence that says where their numbers come from."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from naslora_core.sam.checkpoints import in_use
from naslora_workbook.research.compare import FIRST_BASE

CORE = Path(__file__).parents[1]


def recorded(core: Path, name: str) -> dict:
    """The record `results/name`; empty where there is none."""
    path = core / "results" / name
    return json.loads(path.read_text()) if path.exists() else {}


def runs(core: Path, name: str) -> list[dict]:
    """All records of `results/name/`, in order of their files."""
    return [json.loads(p.read_text()) for p in sorted((core / "results" / name).glob("*.json"))]


def earlier(records: Sequence[Mapping]) -> str:
    """A sentence where records were not all made on the weights in use; else empty."""
    if {r.get("base", FIRST_BASE) for r in records} == {in_use()}:
        return ""
    return " All of it on an earlier `sam_nano`, and on the domains as they were drawn then."


def source(*records: Mapping, commands: Sequence[str] = ()) -> str:
    """Every device, date, commit and command that stands in the records, with a full stop.

    commands: to be named in place of the records' own, where these are parts of one.
    """
    found = [r["provenance"] for r in records]
    of = {k: list(dict.fromkeys(p[k] for p in found)) for k in ("device", "commit", "command")}
    days = sorted({p["date"] for p in found})
    dates = " to ".join(sorted({days[0], days[-1]}))
    code = {k: ", ".join(f"`{x}`" for x in given) for k, given in of.items()}
    ran = ", ".join(f"`{c}`" for c in commands) or code["command"]
    return f"{', '.join(of['device'])}, {dates}, commit {code['commit']}, {ran}."
