"""The verdict over a registered comparison: paired differences, how sure they are, the goal."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean

from naslora_core.errors import UserError
from naslora_workbook.research.intervals import Interval, nested
from naslora_workbook.research.protocol import Protocol, read, results

AHEAD = "ahead of {} over all domains"  # surely: by an interval without zero
GOAL = (  # the first lines of protocol.yml: a claim, the rival, what the rival's row has to show
    (AHEAD.format("LoRA") + ", surely", "lora", lambda row: row["all"].low > 0),
    (AHEAD.format("Conv-LoRA") + ", surely", "conv_lora", lambda row: row["all"].low > 0),
    (AHEAD.format("the fixed 3x3") + ", in the mean", "fixed_conv", lambda r: r["all"].mean > 0),
    ("on no domain wholly behind LoRA", "lora", lambda row: not behind(row)),
)


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
    found = {name: [] for name in protocol.domains}
    for name, seed in protocol.cells():
        mine, other = (
            of.get((name, method, seed)) for method in (subject or protocol.subject, rival)
        )
        if mine is not None and other is not None:
            found[name].append(mine - other)
    return {name: values for name, values in found.items() if values}


def verdict(
    records: Sequence[Mapping], protocol: Protocol, subject: str = ""
) -> dict[str, dict[str, Interval]]:
    """By rival: the interval over "all" domains, over "test" ones, and of each domain by itself.

    subject: the method that is judged, where it is not the protocol's own.
    """
    table = {}
    for rival in (m for m in protocol.methods if m != (subject or protocol.subject)):
        each = differences(records, protocol, rival, subject)
        parts = {"all": each, "test": {n: d for n, d in each.items() if n in protocol.test}}
        parts |= {name: {name: values} for name, values in each.items()}
        table[rival] = {
            name: nested(part, protocol.level, protocol.draws)
            for name, part in parts.items()
            if part
        }
    return {rival: row for rival, row in table.items() if row}


def goal(table: Mapping[str, Mapping[str, Interval]]) -> dict[str, bool]:
    """Each claim of GOAL whose rival takes part in a verdict, and whether it holds."""
    return {claim: holds(table[rival]) for claim, rival, holds in GOAL if rival in table}


def behind(row: Mapping[str, Interval]) -> list[str]:
    """The single domains whose interval lies wholly below zero."""
    return [n for n, interval in row.items() if n not in ("all", "test") and interval.high < 0]


def means(records: Sequence[Mapping], protocol: Protocol) -> dict[str, dict[str, float]]:
    """By method, the base with boxes first, and domain: the mean over its runs."""
    found = {m: defaultdict(list) for m in ("base_boxed", *protocol.methods)}
    for r in records:
        found[r["method"]][r["data"]].append(r["mean"][protocol.metric])
    return {m: {d: mean(values) for d, values in of.items()} for m, of in found.items() if of}


def waiting(records: Sequence[Mapping], protocol: Protocol) -> str:
    """How many runs are missing, in a sentence; empty once all are there.

    Nobody should be tempted to stop where the answer pleases, so there is no verdict before.
    """
    ran = sum(r["method"] in protocol.methods for r in records)
    whole = len(protocol.cells()) * len(protocol.methods)
    return "" if ran == whole else f"{ran} of {whole} runs; the verdict waits for all of them."


def told(records: Sequence[Mapping], protocol: Protocol) -> str:
    """The verdict as lines of text, or what it waits for."""
    if waiting(records, protocol):
        return waiting(records, protocol)
    table = verdict(records, protocol)
    lines = [f"{protocol.subject} minus each rival, {protocol.metric}:"]
    for rival, row in table.items():
        lines += [f"{rival:>16}  {name:>16}  {interval}" for name, interval in row.items()]
    lines += [f"{'yes' if holds else 'no':>16}  {claim}" for claim, holds in goal(table).items()]
    return "\n".join(lines)
