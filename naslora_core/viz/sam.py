"""SAM at work: three answers to one click."""

import numpy as np

from naslora_core.viz.masks import overlay
from naslora_core.viz.picture import Picture
from naslora_core.viz.theme import WIDTH, canvas, finding


def ambiguity(predictor, photo, click, title: str | None = None) -> Picture:
    """The three masks that SAM gives for one click (x, y), with predicted IoU and area."""
    click = np.reshape(click, 2)
    masks, iou, _ = predictor.predict(click[None], np.ones(1))
    figure, axes = _row(photo, len(masks), lines=2)
    for ax, mask, quality in zip(axes, masks, iou, strict=True):
        overlay(ax, photo, mask, points=([click], [1]))
        ax.set_xlabel(f"predicted IoU {quality:.2f}\n{mask.mean():.0%} of the image")
    title = title or f"One click, {len(masks)} answers; SAM trusts number {iou.argmax() + 1} most"
    finding(figure, title)
    return Picture(figure, f"{title}. Predicted IoU: {_list(iou)}.")


def _row(photo, count: int, lines: int = 1):
    """Axes side by side (four at most) for pictures of the photograph's shape, text below."""
    columns = min(4, count)
    rows = -(-count // columns)
    height = (WIDTH / columns - 0.08) * np.shape(photo)[0] / np.shape(photo)[1] + 0.1 + 0.16 * lines
    figure, axes = canvas(rows, columns, rows * height + 0.22)
    for ax in axes.flat[count:]:
        ax.axis("off")
    return figure, list(axes.flat[:count])


def _list(values) -> str:
    return ", ".join(f"{v:.2f}" for v in values)
