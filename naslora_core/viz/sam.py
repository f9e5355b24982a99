"""SAM at work: many clicks on one encoding, three answers to one click, and its ceiling."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from naslora_core.viz.masks import overlay
from naslora_core.viz.picture import Picture
from naslora_core.viz.theme import WIDTH, canvas, finding


def clicks(predictor, photo, points: Sequence, title: str | None = None) -> Picture:
    """One mask for every click (x, y in pixels of `photo`), drawn on the encoding that is there.

    predictor: SamPredictor after `set_image(photo)`; of three masks the one of highest predicted
    IoU is shown.
    """
    figure, axes = _row(photo, len(points))
    found = []
    for ax, point in zip(axes, points, strict=True):
        masks, iou, _ = predictor.predict(np.array([point]), np.ones(1))
        best = int(iou.argmax())
        found.append(float(iou[best]))
        overlay(ax, photo, masks[best], points=([point], [1]))
        ax.set_xlabel(f"predicted IoU {iou[best]:.2f}")
    title = title or f"One encoding, {len(points)} clicks, {len(points)} masks"
    finding(figure, title)
    return Picture(figure, f"{title}. Predicted IoU: {_list(found)}.")


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


def ceiling(photo, truth, side: int, title: str | None = None) -> Picture:
    """The truth, the truth as a decoder of `side x side` can draw it, and what is lost.

    photo: uint8 `H W 3`; truth: bool `H W`; side: pixels of the decoder's mask along the longer
    side of the image. Red is lost, or gained wrongly.
    """
    truth = np.asarray(truth, bool)
    coarse, again = at_resolution(truth, side)
    iou = (truth & again).sum() / max((truth | again).sum(), 1)
    figure, axes = _row(photo, 3)
    overlay(axes[0], photo, truth)
    overlay(axes[1], photo)
    axes[1].imshow(coarse, cmap="gray", extent=axes[1].images[0].get_extent())
    overlay(axes[2], photo)
    axes[2].imshow(_red(truth ^ again), extent=axes[2].images[0].get_extent())
    texts = ("truth", f"drawn {coarse.shape[0]} × {coarse.shape[1]}", f"differs: IoU {iou:.2f}")
    for ax, text in zip(axes, texts, strict=True):
        ax.set_xlabel(text)
    title = title or f"The ceiling: drawn at {side} × {side}, even the truth has IoU {iou:.2f}"
    finding(figure, title)
    return Picture(figure, title)


def at_resolution(mask: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask `H W` averaged onto a grid of `side` along its longer side, and enlarged again."""
    full = torch.from_numpy(mask)[None, None].float()
    small = [max(1, round(side * n / max(mask.shape))) for n in mask.shape]
    low = F.interpolate(full, small, mode="area")
    again = F.interpolate(low, mask.shape, mode="bilinear", align_corners=False)
    return low[0, 0].numpy(), again[0, 0].numpy() > 0.5


def _red(mask: np.ndarray) -> np.ndarray:
    return np.dstack([mask * 0.88, mask * 0.19, mask * 0.12, mask * 0.9])


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
