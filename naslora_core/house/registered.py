"""The README's verdict of the registered comparison, once all of its runs are there."""

from pathlib import Path

from naslora_core.house.labels import LABELS
from naslora_core.training import protocol as registry
from naslora_core.training.verdict import verdict, waiting


def registered_table(file: Path = registry.FILE, results: Path = registry.RESULTS) -> str:
    """A row a rival: the subject's lead over all domains, over test domains, domains won and lost;
    while runs are missing, how many."""
    protocol = registry.read(file)
    records = registry.results(protocol, results)
    if waiting(records, protocol):
        return f"So far {waiting(records, protocol)}"
    head = "| NAS-LoRA minus | all domains | test domains | above zero | below zero |"
    rows = [
        f"| {LABELS[rival]} | {_cells(row, protocol)} |"
        for rival, row in verdict(records, protocol).items()
    ]
    p = records[0]["provenance"]
    note = (
        f"Test {protocol.metric} of {len(protocol.domains)} domains with {len(protocol.seeds)} "
        f"seeds each; {protocol.level:.0%} intervals by bootstrap over domains and seeds. Above "
        f"and below zero: domains whose own interval is. `{p['command']}`, {p['device']}, "
        f"{p['date']}, commit `{p['commit']}`."
    )
    return "\n".join([head, "|---|---|---|---|---|", *rows, "", note])


def _cells(row, protocol) -> str:
    own = [row[name] for name in protocol.domains]
    counts = sum(i.low > 0 for i in own), sum(i.high < 0 for i in own)
    return " | ".join(map(str, (row["all"], row["test"], *counts)))
