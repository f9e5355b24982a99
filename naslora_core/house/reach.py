"""How many passes and seconds a method needs to be as good as a rival is at its end."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from naslora_core.house.environment import ROOT
from naslora_core.house.labels import LABELS

RIVAL = "conv_lora"
CURVES = ROOT / "naslora_core" / "recorded" / "curves"


def reached(looks: Sequence[Sequence[float]], quality: float) -> tuple[float, float] | None:
    """Step and seconds of the first look (step, value, seconds) of at least this value."""
    return next(((step, seconds) for step, value, seconds in looks if value >= quality), None)


def shares(records: Sequence[dict], method: str) -> list[tuple[float, float] | None]:
    """By domain and seed the steps and seconds until the rival's last validation Dice, of the
    rival's whole run; None where it is never reached."""
    of = {(r["data"], r["seed"], r["method"]): r["looks"] for r in records if r.get("looks")}
    found = []
    for data, seed in sorted({key[:2] for key in of if key[2] == RIVAL}):
        if (data, seed, method) not in of:
            continue
        steps, quality, seconds = of[data, seed, RIVAL][-1]
        mine = reached(of[data, seed, method], quality)
        found.append(mine and (mine[0] / steps, mine[1] / seconds))
    return found


def reach_table(folder: Path = CURVES) -> str:
    """A row a method: in how many runs it gets there, and the median shares of those."""
    records = [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]
    methods = [m for m in LABELS if any(r["method"] == m and r.get("looks") for r in records)]
    if RIVAL not in methods:
        return ""
    head = "| method | gets there | passes | seconds |\n|---|---|---|---|"
    rows = [f"| {LABELS[m]} | {_cells(shares(records, m))} |" for m in methods]
    s, p = records[-1]["setting"], records[-1]["provenance"]
    domains = " and ".join(sorted({r["data"] for r in records}))
    seeds = sorted({r["seed"] for r in records if r.get("looks")})
    note = (
        f"Until the validation Dice is at least that of {LABELS[RIVAL]} after all its "
        f"{s['steps']} steps, looked at every {s['looks']} steps on {domains}, seeds "
        f"{', '.join(map(str, seeds))}: runs that get there, and of these the median passes and "
        f"seconds as shares of {LABELS[RIVAL]}'s whole run. Its own row tells how early it was "
        f"once as good as at its end. {p['device']}, {p['date']}, commit `{p['commit']}`, "
        f"`{p['command']}`."
    )
    return "\n".join([head, *rows, "", note])


def _cells(found: Sequence[tuple[float, float] | None]) -> str:
    there = [share for share in found if share]
    middle = [f"{median(values):.2f}" for values in zip(*there, strict=True)] or ["-", "-"]
    return " | ".join([f"{len(there)} of {len(found)}", *middle])
