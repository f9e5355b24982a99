"""Tables of the registered comparison, once all of its runs are there."""

from pathlib import Path
from statistics import mean

from naslora_workbook.publishing.sizes import chosen, minutes, trained
from naslora_workbook.publishing.sources import source
from naslora_workbook.research import protocol as registry
from naslora_workbook.research.verdict import behind, goal, means, verdict, waiting
from naslora_workbook.results.labels import LABELS

METRICS = {"iou": "IoU", "dice": "Dice"}
COMMANDS = ("python -m naslora_core protocol",)


def registered_table(file: Path = registry.FILE, results: Path = registry.RESULTS) -> str:
    """The subject's leads and whether the goal is met; while runs are missing, how many."""
    protocol, records = _asked(file, results)
    if waiting(records, protocol):
        return f"So far {waiting(records, protocol)}"
    table = verdict(records, protocol)
    return "\n\n".join([_leads(table, protocol), _goal(table), _note(records, protocol)])


def domains_table(file: Path = registry.FILE, results: Path = registry.RESULTS) -> str:
    """Every method's mean on every domain, and what it trains; empty while runs are missing."""
    protocol, records = _asked(file, results)
    if waiting(records, protocol):
        return ""
    title = (
        f"Test {METRICS[protocol.metric]}, mean of {len(protocol.seeds)} seeds. Trained: numbers "
        "in the encoder (of the U-Net, all), and how many are left with one operator a block, as "
        f"projection chooses it. {minutes(records, protocol.subject)}"
    )
    return "\n\n".join([title, _means(records, protocol), source(*records, commands=COMMANDS)])


def _asked(file: Path, results: Path):
    protocol = registry.read(file)
    return protocol, registry.results(protocol, results)


def _leads(table, protocol) -> str:
    """A row a rival: over all domains, over test domains, domains won and lost."""
    head = f"| {LABELS[protocol.subject]} minus | all domains | test domains | above zero | below |"
    rows = [
        f"| {LABELS[rival]} | {row['all']} | {row['test']} | {_above(row, protocol)} "
        f"| {len(behind(row))} |"
        for rival, row in table.items()
    ]
    return "\n".join([head, "|---|---|---|---|---|", *rows])


def _above(row, protocol) -> int:
    return sum(row[name].low > 0 for name in protocol.domains)


def _goal(table) -> str:
    """The claims of the goal, each with its answer."""
    claims = goal(table).items()
    told = "; ".join(f"{claim}: **{'yes' if holds else 'no'}**" for claim, holds in claims)
    return f"The goal that the protocol names (surely: by an interval without zero): {told}."


def _means(records, protocol) -> str:
    """Method x domain, and what each trains in the encoder, before and after choosing."""
    names = protocol.domains
    head = f"| method | trained | with one operator | {' | '.join(names)} | mean |"
    rows = [
        f"| {LABELS[method]} | {trained(records, method)} | {chosen(records, method)} | "
        f"{' | '.join(f'{of[name]:.3f}' for name in names)} | {mean(of.values()):.3f} |"
        for method, of in means(records, protocol).items()
    ]
    return "\n".join([head, "|---" * (len(names) + 4) + "|", *rows])


def _note(records, protocol) -> str:
    s = protocol.setting
    return (
        f"Test {METRICS[protocol.metric]} of {len(protocol.domains)} domains "
        f"({', '.join(protocol.test)} were never used for a choice) with {len(protocol.seeds)} "
        f"seeds each, {s.steps} steps of {s.batch} images; {protocol.level:.0%} intervals by "
        "bootstrap over domains and seeds; above and below zero: domains whose own interval is.\n\n"
        f"{source(*records, commands=COMMANDS)}"
    )
