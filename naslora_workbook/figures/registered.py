"""The registered comparison: its verdict over all rivals and by domain, and the README's figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from naslora_workbook.figures.diagram import draw_stage
from naslora_workbook.figures.masks import overlay
from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.figures.theme import (
    ADAPTER,
    BASE,
    INK,
    WIDTH,
    canvas,
    finding,
    interval_bar,
    new_figure,
    rows,
)

ALL, TEST = INK, BASE  # no method's colour: a bar is a set of domains
APART = 0.22  # rows between the two bars of a rival


def leads(table: Mapping, goal: Mapping[str, bool], test: Sequence[str], against: str) -> Picture:
    """Intervals of a verdict: by rival over all and over test domains; by domain `against` one.

    table: rival -> {"all", "test", each domain: Interval} of subject minus rival; goal: claim ->
    whether it holds; test: the test domains.
    """
    figure, (axes,) = canvas(1, 2, 0.34 * len(table) + 1.2, width_ratios=[1.5, 1])
    rivals = dict(sorted(table.items(), key=lambda item: -item[1]["all"].mean))
    for y, row in enumerate(rivals.values()):
        lead(axes[0], y - APART, row["all"], ALL, "" if y else "all domains")
        lead(axes[0], y + APART, row["test"], TEST, "" if y else "test domains alone")
        own = [interval.mean for interval in _by_domain(row).values()]
        axes[0].plot(own, [y] * len(own), "|", color=INK, ms=7, label="" if y else "a domain")
    figure.legend(loc="outside lower center", ncols=3, handlelength=1)
    single = _by_domain(table[against])
    for y, (name, interval) in enumerate(single.items()):
        lead(axes[1], y, interval, TEST if name in test else ALL)
    words = ("IoU of NAS-LoRA minus", f"minus {against}, by domain")
    for ax, names, label in zip(axes, (rivals, single), words, strict=True):
        ax.axvline(0, color=INK, lw=1)
        rows(ax, names)
        ax.set_xlabel(label)
    told = f"{sum(goal.values())} of {len(goal)} claims of the goal hold"
    finding(figure, f"{told}; NAS-LoRA minus {against}: {table[against]['all']}")
    said = "; ".join(f"{n} {row['all']}, test domains {row['test']}" for n, row in rivals.items())
    return Picture(figure, f"{told}. NAS-LoRA minus each rival, all domains: {said}.")


def _by_domain(row: Mapping) -> dict:
    return {name: interval for name, interval in row.items() if name not in ("all", "test")}


def lead(ax: Axes, y: float, interval, colour: str, label: str = "") -> None:
    """An interval as a thick line, its mean as a dot."""
    interval_bar(ax, y, interval.low, interval.high, colour, label)
    ax.plot(interval.mean, y, "o", color=colour, ms=3.5)


def front_page(
    image: np.ndarray,
    truth: np.ndarray,
    boxes: np.ndarray,
    masks: tuple[np.ndarray, np.ndarray],
    scores: tuple[float, float],
    leads: Mapping[str, object],
    title: str,
) -> Picture:
    """Three views of one image, the block with its searchable cell, and an interval a rival.

    image: uint8 `H W 3`; truth and masks (base with boxes, adapted without prompt): `H W`;
    boxes: `N 4`; scores: Dice of both masks; leads: rival -> Interval of NAS-LoRA minus rival.
    """
    figure = new_figure((WIDTH, 6.6), "constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(2.4, 4.2))
    views = top.subplots(1, 3)
    overlay(views[0], image, None, truth)
    overlay(views[1], image, masks[0], truth, box=boxes)
    overlay(views[2], image, masks[1], truth)
    boxed, adapted = (f"Dice {score:.2f}" for score in scores)
    captions = f"base, true box given: {boxed}", f"NAS-LoRA, no prompt: {adapted}"
    captions = ("the object (outlined)", *captions)
    for ax, words in zip(views, captions, strict=True):
        ax.set_title(words)
    diagram, verdict = bottom.subfigures(2, 1, height_ratios=(2.2, 2.0))
    ax = diagram.subplots()
    draw_stage(ax, "nas_lora")
    _verdict(verdict.subplots(), leads)
    told = "; ".join(f"{rival} {interval}" for rival, interval in leads.items())
    return titled(figure, title, f"{'; '.join(captions)}. IoU minus rivals: {told}.")


def _verdict(ax, leads: Mapping[str, object]) -> None:
    """An interval a rival around zero, all domains."""
    for row, interval in enumerate(leads.values()):
        lead(ax, row, interval, ADAPTER["nas_lora"])
    ax.axvline(0, color=INK, lw=1)
    rows(ax, [f"minus {rival}" for rival in leads])
    ax.set_xlabel("test IoU of NAS-LoRA minus the rival, 8 domains, 5 seeds, 95 % interval")
