"""The README's figure: one image before and after, what is trained, and the registered verdict."""

from collections.abc import Mapping

import numpy as np

from naslora_workbook.figures.diagram import draw_stage
from naslora_workbook.figures.masks import overlay
from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.registered import interval_bar
from naslora_workbook.figures.theme import ADAPTER, INK, WIDTH, finding, new_figure


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
    for ax, words in zip(views, _captions(scores), strict=True):
        ax.set_title(words)
    diagram, verdict = bottom.subfigures(2, 1, height_ratios=(2.2, 2.0))
    ax = diagram.subplots()
    draw_stage(ax, "nas_lora")
    _verdict(verdict.subplots(), leads)
    finding(figure, title)
    told = "; ".join(f"{rival} {interval}" for rival, interval in leads.items())
    return Picture(figure, f"{title}. {'; '.join(_captions(scores))}. IoU minus rivals: {told}.")


def _captions(scores: tuple[float, float]) -> tuple[str, str, str]:
    boxed, adapted = (f"Dice {score:.2f}" for score in scores)
    return (
        "the object (outlined)",
        f"base, true box given: {boxed}",
        f"NAS-LoRA, no prompt: {adapted}",
    )


def _verdict(ax, leads: Mapping[str, object]) -> None:
    """An interval a rival around zero, all domains."""
    for row, interval in enumerate(leads.values()):
        interval_bar(ax, row, interval, ADAPTER["nas_lora"])
    ax.axvline(0, color=INK, lw=1)
    ax.set(yticks=range(len(leads)), ylim=(len(leads) - 0.4, -0.6))
    ax.set_yticklabels([f"minus {rival}" for rival in leads])
    ax.set_xlabel("test IoU of NAS-LoRA minus the rival, 8 domains, 5 seeds, 95 % interval")
