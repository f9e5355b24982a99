"""How many passes a method needs to be as good as a rival is at its end, and what these cost.

Runs of a grid share their machine with others, so their own seconds say little: time is passes,
times what a step takes beside the rival's where both took turns (`bench`).
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

from naslora_workbook.publishing.sources import CORE, earlier, recorded, runs, source
from naslora_workbook.results.labels import LABELS

RIVAL, SUBJECT, GOAL = "conv_lora", "nas_lora", 0.5  # half of the rival's passes


def reached(looks: Sequence[Sequence[float]], quality: float) -> int | None:
    """Step of the first look (step, value, seconds) of at least this value."""
    return next((step for step, value, *_ in looks if value >= quality), None)


def shares(records: Sequence[dict], method: str) -> list[float | None]:
    """By domain and seed the passes until the rival's last validation Dice, as a share of the
    rival's whole run; None where it is never reached. Runs without a rival are left out."""
    of = {(r["data"], r["seed"], r["method"]): r["looks"] for r in records if r.get("looks")}
    found = []
    for data, seed in sorted({key[:2] for key in of if key[2] == RIVAL}):
        if (data, seed, method) in of:
            steps, quality, *_ = of[data, seed, RIVAL][-1]
            mine = reached(of[data, seed, method], quality)
            found.append(mine and mine / steps)
    return found


def last_tenth(records: Sequence[dict], method: str) -> dict[str, float]:
    """By domain the validation Dice that the last tenth of the steps brought, mean of runs."""
    gains = {}
    for looks, data in ((r["looks"], r["data"]) for r in records if r["method"] == method):
        steps, value, *_ = looks[-1]
        before = [v for step, v, *_ in looks if step <= 0.9 * steps]
        gains.setdefault(data, []).append(value - before[-1])
    return {data: mean(found) for data, found in sorted(gains.items())}


def reach_table(core: Path = CORE) -> str:
    """A row a method: in how many runs it gets there, the median share of those, and its time."""
    records = runs(core, "curves")
    methods = [m for m in LABELS if any(r["method"] == m and r.get("looks") for r in records)]
    if RIVAL not in methods:
        return ""
    bench = recorded(core, "bench.json")["rows"]["nano"]
    step = {m: bench[m]["step_ratio"] / bench[RIVAL]["step_ratio"] for m in methods}
    head = "| method | gets there | passes | time | last tenth |\n|---|---|---|---|---|"
    gains = {m: ", ".join(f"{g:+.3f}" for g in last_tenth(records, m).values()) for m in methods}
    rows = [
        f"| {LABELS[m]} | {_cells(shares(records, m), step[m])} | {gains[m]} |" for m in methods
    ]
    s = records[-1]["setting"]
    domains = " and ".join(sorted({r["data"] for r in records}))
    seeds = ", ".join(map(str, sorted({r["seed"] for r in records if r.get("looks")})))
    note = _goal(records) + (
        f"Until the validation Dice is at least that of {LABELS[RIVAL]} after all its "
        f"{s['steps']} steps, looked at every {s['looks']} steps on {domains}, seeds {seeds}: runs "
        f"that get there, and of these the median passes, as a share of {LABELS[RIVAL]}'s whole "
        f"run; time: these, times what a step of the encoder takes beside {LABELS[RIVAL]}'s in "
        f"the table of costs. Its own row tells how early it was once as good as at its end. Last "
        f"tenth: the mean gain of Dice in it, on {domains}.{earlier(records)}\n\n"
        f"{source(*records)}"
    )
    return "\n".join([head, *rows, "", note])


def _goal(records: Sequence[dict]) -> str:
    """In a sentence, whether the subject met its goal; empty where it never got there."""
    there = [share for share in shares(records, SUBJECT) if share]
    if not there:
        return ""
    met = "met" if median(there) <= GOAL else "missed"
    return f"{LABELS[SUBJECT]} was to need {GOAL:g} of {LABELS[RIVAL]}'s passes: {met}. "


def _cells(found: Sequence[float | None], step: float) -> str:
    there = [share for share in found if share]
    middle = median(there) if there else None
    costs = [f"{middle:.2f}", f"{middle * step:.2f}"] if there else ["-", "-"]
    return " | ".join([f"{len(there)} of {len(found)}", *costs])
