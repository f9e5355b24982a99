"""Recorded experiments on one page: differences with their intervals, and IoU over a setting."""

from collections.abc import Mapping, Sequence

import numpy as np

from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.figures.registered import lead
from naslora_workbook.figures.theme import ADAPTER, BASE, INK, chart, rows
from naslora_workbook.results.labels import LABELS

METHODS = {LABELS[name]: colour for name, colour in ADAPTER.items()}
COLOURS = (BASE, ADAPTER["lora"], ADAPTER["nas_lora"], ADAPTER["conv_lora"], BASE)
MARKS = "osD^v"


def differences(found: Mapping[str, object], unit: str) -> Picture:
    """Intervals of differences, a row each; black where an interval excludes zero."""
    figure, ax = chart(0.24 * len(found) + 0.9)
    for y, interval in enumerate(found.values()):
        lead(ax, y, interval, BASE if interval.zero else INK)
    ax.axvline(0, color=INK, lw=1)
    rows(ax, found)
    ax.set_xlabel(unit)
    clear = [f"{name}: {interval.words}" for name, interval in found.items() if not interval.zero]
    title = "; ".join(clear) or f"All {len(found)} intervals include zero: these seeds cannot tell"
    return titled(figure, title, "; ".join(f"{n} {i}" for n, i in found.items()) + ".")


def over(series: Mapping[str, Mapping[object, Sequence[float]]], label: str, title: str) -> Picture:
    """IoU over a setting: series -> value of the setting -> IoU of every seed.

    Lines join means, points are seeds. The settings stand in the order of the first series.
    """
    figure, ax = chart(2.7)
    ticks = list(next(iter(series.values())))
    for k, (name, values) in enumerate(series.items()):
        colour = METHODS.get(name, COLOURS[k % len(COLOURS)])
        mark = MARKS[k % len(MARKS)]
        at = np.array([ticks.index(x) for x in values]) + 0.06 * (k - (len(series) - 1) / 2)
        ax.plot(at, [np.mean(v) for v in values.values()], color=colour, marker=mark, label=name)
        for x, seeds in zip(at, values.values(), strict=True):
            ax.plot([x] * len(seeds), seeds, mark, color=colour, ms=3, alpha=0.6)
    ax.set_xticks(range(len(ticks)), [str(x) for x in ticks])
    ax.set(xlabel=label, ylabel=f"validation IoU\n(axis from {ax.get_ylim()[0]:.2f})")
    figure.legend(loc="outside right center", handlelength=1.5)
    said = "; ".join(
        f"{name}: {', '.join(f'{np.mean(v):.3f} at {x}' for x, v in values.items())}"
        for name, values in series.items()
    )
    return titled(figure, title, f"Means: {said}.")
