"""Recorded runs side by side: a dot a seed, seeds joined, so that differences stay paired."""

from collections.abc import Sequence

import numpy as np

from naslora_core.sam.sam_nano import IMAGE_SIZE
from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import ADAPTER, BASE, chart, finding
from naslora_workbook.research.pretraining.weights import in_use
from naslora_workbook.results.labels import LABELS


def comparison(records: Sequence[dict], metric: str = "dice", title: str | None = None) -> Picture:
    """Dots of `records` (as training.compare writes them), and the box-prompted base as a line."""
    runs = [r for r in records if r["method"] != "base_boxed"]
    methods = list(dict.fromkeys(r["method"] for r in runs))
    seeds = sorted({r["seed"] for r in runs})
    of = {(r["method"], r["seed"]): r["mean"][metric] for r in runs}
    table = np.array([[of.get((m, s), np.nan) for s in seeds] for m in methods])
    figure, ax = chart(3.0)
    places = np.arange(len(methods))
    ax.plot(places, table, color=BASE, lw=0.7, alpha=0.7)
    for x, method, row in zip(places, methods, table, strict=True):
        ax.scatter([x] * len(seeds), row, s=36, color=ADAPTER.get(method, BASE), zorder=3)
    _base(ax, records, metric, places[-1])
    unit = {"dice": "Dice", "iou": "IoU"}.get(metric, metric)
    ax.set(xticks=places, ylabel=f"{_split(records)} {unit}", xlim=(-0.5, len(methods) - 0.2))
    means = np.nanmean(table, 1)  # of four digits: differences of them round as the title's do
    ax.set_xticklabels(
        [f"{LABELS.get(m, m)}\nmean {v:.4f}" for m, v in zip(methods, means, strict=True)]
    )
    ax.set_xlabel(source(records), loc="left")
    ax.margins(y=0.1)
    found = title or _finding(methods, table)
    finding(ax, found)
    commits = ", ".join(sorted({r["provenance"]["commit"] for r in records}))
    told = f"{found}. {source(records)}, commit {commits}."
    return Picture(figure, told.replace("\n", " "))


def _split(records: Sequence[dict]) -> str:
    return {"val": "validation"}.get(split := records[-1]["setting"]["split"], split)


def _base(ax, records: Sequence[dict], metric: str, right: float) -> None:
    for record in (r for r in records if r["method"] == "base_boxed"):
        value = record["mean"][metric]
        ax.axhline(value, color=BASE, ls="--", lw=1)
        ax.annotate(f"base with boxes {value:.3f}", (right + 0.75, value), (0, 3), ha="right",
                    textcoords="offset points", color=BASE)  # fmt: skip


def _finding(methods: list[str], table: np.ndarray) -> str:
    """The last method minus every other one: mean difference, and seeds in which it is ahead."""
    gains = [
        (LABELS.get(m, m), table[-1] - row) for m, row in zip(methods[:-1], table, strict=False)
    ]
    parts = (
        f"{m} {np.nanmean(g):+.3f} ({(g > 0).sum()} of {(~np.isnan(g)).sum()} seeds ahead)"
        for m, g in gains
    )
    return f"{LABELS.get(methods[-1], methods[-1])} minus {'; minus '.join(parts)}"


def source(records: Sequence[dict]) -> str:
    """Where records come from, as a line for figures and captions."""
    setting, seeds = records[-1]["setting"], {r["seed"] for r in records}
    devices = sorted({r["provenance"]["device"] for r in records})
    dates = sorted({r["provenance"]["date"] for r in records})
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    made_on = records[-1]["base"]
    base = made_on.split()[0]
    size = f" at {IMAGE_SIZE} px" * (base == "sam_nano")
    earlier = "an earlier " * (base == "sam_nano" and made_on != in_use())
    return (
        f"Recorded: {earlier}{base}{size}, {setting['steps']} steps of {setting['batch']} images, "
        f"{len(seeds)} seed{'s' * (len(seeds) > 1)} on {records[-1]['data']};\n"
        f"{', '.join(devices)}, {when}"
    )
