"""Masks on images: SAM's star prompts and translucent overlay, the truth as an outline."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.patches import Rectangle
from PIL import Image

from naslora_core.errors import UserError
from naslora_core.training.prompts import box_of, components
from naslora_workbook.figures import theme
from naslora_workbook.figures.picture import Picture, titled

OPACITY = 0.5
MOST = 256  # pixels of a photograph's longer side
LINES = ("solid", "dashed", "dotted", "dashdot")  # outlines of class 1, 2, ...


def overlay(
    ax: Axes, image, mask=None, truth=None, points=None, box=None, fine: bool = False
) -> Axes:
    """Draw on axes: image `H W 3`, mask and truth `H W` (bool or class ids), prompts in pixels.

    points: (coordinates `P 2` as x, y; labels `P`, 1 in, 0 out); box: x0, y0, x1, y1, or
    several `N 4`. Masks of another size than the image are stretched over it. fine: thin lines,
    for small pictures.
    """
    height, width = np.shape(image)[:2]
    place = {"extent": (-0.5, width - 0.5, height - 0.5, -0.5)}
    ax.imshow(thin(image), cmap="gray" if np.ndim(image) == 2 else None, **place)
    if mask is not None:
        ax.imshow(tint(mask), **place)
        outline(ax, mask, (height, width), theme.CLASSES, casing=0, width=0.6 if fine else 1.3)
    if truth is not None:
        size = {"width": 0.8, "casing": 1.6} if fine else {}
        outline(ax, truth, (height, width), **size)
    if points is not None:
        stars(ax, *points)
    if box is not None:
        for x0, y0, x1, y1 in np.reshape(box, (-1, 4)):
            style = {"ec": theme.PROMPT, "fc": "none", "lw": 1 if fine else 2}
            ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, **style))
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    theme.blank(ax)
    return ax


def thin(image) -> np.ndarray:
    """A large photograph averaged down to about MOST pixels a side: a page shows no more."""
    factor = round(max(np.shape(image)[:2]) / MOST)
    image = np.asarray(image)
    return np.asarray(Image.fromarray(image).reduce(factor)) if factor > 1 else image


def tint(mask) -> np.ndarray:
    """Class ids `H W` as translucent colours `H W 4`; background is clear."""
    mask = np.asarray(mask).astype(int)
    colours = to_rgba_array(theme.CLASSES, OPACITY)[np.maximum(mask - 1, 0) % len(theme.CLASSES)]
    return colours * (mask > 0)[..., None]


def outline(
    ax: Axes,
    truth,
    shape: tuple[int, int],
    colours: Sequence[str] = (theme.TRUTH,),
    width: float = 1.3,
    casing: float = 3,
) -> None:
    """The border of every class of `truth` `H W`, yellow on black; nothing for an empty mask.

    colours: of class 1, 2, ...; of a prediction those of the areas, so that blue shows on dark
    grounds too.
    """
    truth = np.pad(np.asarray(truth).astype(int), 1)  # objects at the rim are closed too
    y, x = (np.arange(n) - 0.5 for n in truth.shape)
    y, x = y * shape[0] / (len(y) - 2) - 0.5, x * shape[1] / (len(x) - 2) - 0.5
    for label in np.unique(truth[truth > 0]):
        style = {"colors": [colours[(label - 1) % len(colours)]], "linewidths": width}
        style["linestyles"] = [LINES[(label - 1) % len(LINES)]]
        lines = ax.contour(x, y, truth == label, [0.5], **style)
        if casing:
            stroke = patheffects.Stroke(linewidth=casing, foreground="black")
            lines.set_path_effects([stroke, patheffects.Normal()])


def stars(ax: Axes, coordinates, labels) -> None:
    """SAM's prompts: a green star for "this", a red one, barred, for "not this"."""
    for (x, y), label in zip(coordinates, labels, strict=True):
        colour = theme.PROMPT if label else theme.PROMPT_OUT
        ax.plot(x, y, "*", ms=14, mfc=colour, mec="white", mew=1)
        if not label:
            ax.plot(x, y, "_", ms=7, mec="white", mew=1.6)


def show_masks(
    images: Sequence,
    predictions: Sequence,
    truths: Sequence | None = None,
    scores: Sequence[float] | None = None,
    title: str = "Images with their masks",
    points=None,
    boxes=None,
    names: Sequence[str] | None = None,
) -> Picture:
    """A grid of images with prediction, outlined truth, and the Dice `scores` printed under each.

    points, boxes: one prompt an image, or None; names: a line above each.
    """
    columns = min(4, max(2, len(images)))
    figure, axes = _grid(images, columns, 0.19 * ((scores is not None) + (names is not None)))
    for i, ax in enumerate(axes.flat[: len(images)]):
        each = [None if a is None else a[i] for a in (truths, points, boxes)]
        overlay(ax, images[i], predictions[i], *each)
        if scores is not None:
            ax.set_xlabel(f"Dice {scores[i]:.2f}")
        if names is not None:
            ax.set_title(names[i])
    theme.finding(figure, title)
    figures = "" if scores is None else " Dice: " + ", ".join(f"{s:.2f}" for s in scores) + "."
    return Picture(figure, title + "." * (title[-1] not in ".?!") + figures)


def before_after(
    samples: Sequence, columns: Mapping[str, object], chosen: Sequence[int], title: str
) -> Picture:
    """One row an image: the truth, then the masks of every column, with the Dice under each.

    samples: a data set's, each with `image` and `mask`; columns: name -> its scores, with `masks`
    and `dice`; chosen: the images shown. Boxes are drawn in the columns whose name has "box".
    """
    shown = [samples[int(i)] for i in chosen]
    width = 1 + len(columns)
    figure, axes = _grid([s.image for s in shown for _ in range(width)], width, 0.19)
    for row, i, sample in zip(axes, chosen, shown, strict=True):
        boxes = [box_of(part) for part in components(sample.mask > 0)]
        overlay(row[0], sample.image, truth=sample.mask, fine=True)
        for ax, (name, scores) in zip(row[1:], columns.items(), strict=True):
            box = boxes if "box" in name and boxes else None
            overlay(ax, sample.image, scores.masks[i], sample.mask, box=box, fine=True)
            ax.set_xlabel(f"Dice {scores.dice[i]:.2f}")
    for ax, name in zip(axes[0], ("truth", *columns), strict=True):
        ax.set_title(name)
    dice = [f"{n} {', '.join(f'{s.dice[i]:.2f}' for i in chosen)}" for n, s in columns.items()]
    return titled(figure, title, f"Dice of each image: {'; '.join(dice)}.")


def contact_sheet(samples: Sequence, title: str, columns: int) -> Picture:
    """Many samples at a glance: each with `image` and `mask` (class ids)."""
    samples = [samples[i] for i in range(len(samples))]
    figure, axes = _grid([s.image for s in samples], columns)
    for sample, ax in zip(samples, axes.flat, strict=False):
        overlay(ax, sample.image, truth=sample.mask)
    theme.finding(figure, title)
    return Picture(figure, title)


def ambiguity(predictor, photo, click) -> Picture:
    """The three masks that SAM gives for one click (x, y), with predicted IoU and area."""
    click = np.reshape(click, 2)
    masks, iou, _ = predictor.predict(click[None], np.ones(1))
    figure, axes = _grid([photo] * len(masks), len(masks), 0.315)
    for ax, mask, quality in zip(axes[0], masks, iou, strict=True):
        overlay(ax, photo, mask, points=([click], [1]))
        ax.set_xlabel(f"predicted IoU {quality:.2f}\n{mask.mean():.0%} of the image")
    title = f"One click, {len(masks)} masks; number {iou.argmax() + 1} has the best predicted IoU"
    return titled(figure, title, f"Predicted IoU: {', '.join(f'{v:.2f}' for v in iou)}.")


def _grid(images: Sequence, columns: int, label: float = 0):
    """Axes for images, as high as their shapes (and `label` inches of text) ask for."""
    if not len(images):
        raise UserError("There is no image to draw; expected one or more; give some.")
    tile = theme.WIDTH / columns - 0.08
    tile *= max(np.shape(i)[0] / np.shape(i)[1] for i in images)
    return theme.grid(len(images), columns, tile + 0.085 + label, 0.24)
