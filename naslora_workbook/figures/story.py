"""The whole story in one figure, drawn from results alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch
from scipy import stats

from naslora_workbook.figures import theme
from naslora_workbook.figures.masks import overlay
from naslora_workbook.figures.operators import as_array, in_words, plain
from naslora_workbook.figures.picture import Picture

MARGIN = 0.02  # Dice: a gain that stays inside of it is none


def story(
    image,
    truth,
    box,
    base_mask,
    adapted_mask,
    scores: tuple[float, float],
    genotype,
    kernels: Mapping[str, object],
    differences: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    title: str | None = None,
) -> Picture:
    """Image, box-prompted base, prompt-free adapted; what was chosen; paired seeds.

    image: uint8 `H W 3`; truth and masks: `H W`; box: `4` or `N 4`, or None; scores: Dice of base
    and adapted on this image; genotype: of the adapted model; kernels: its mixed kernels
    `r r k k` by block; differences: Dice of NAS-LoRA minus LoRA, one a seed (or per domain);
    without them the figure is about one run.
    """
    found = plain(genotype)
    blocks = len(found["blocks"])
    tile = theme.WIDTH / 3 * np.shape(image)[0] / np.shape(image)[1]
    heights = (tile + 0.32, 1.25 + 0.28 * (blocks + 1))
    figure = theme.new_figure((theme.WIDTH, sum(heights)), "constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=heights)
    _images(top.subplots(1, 3), image, truth, box, (base_mask, adapted_mask), scores)
    left, right = bottom, None
    if differences is not None:
        left, right = bottom.subfigures(1, 2, width_ratios=(2.2, 1))
    choices(left.subplots(), found, kernels)
    names, colours = found["operators"], theme.operator_colours(found["operators"])
    handles = [Patch(color=colours[n]) for n in names]
    left.legend(handles, names, loc="outside lower left", ncols=3, handlelength=0.8)
    facts = [f"Dice on this image: base with a box {scores[0]:.2f}, adapted {scores[1]:.2f}"]
    if right:
        facts.insert(0, f"NAS-LoRA minus LoRA: {paired_seeds(right.subplots(), differences)}")
    title = title or facts.pop(0)
    theme.finding(figure, title)
    return Picture(figure, ". ".join([title, *facts, in_words(found["blocks"])]))


def _images(axes, image, truth, box, masks, scores) -> None:
    overlay(axes[0], image)
    overlay(axes[1], image, masks[0], truth, box=box)
    overlay(axes[2], image, masks[1], truth)
    prompt = "base, box prompt" if box is not None else "base, no prompt"
    axes[0].set_title("image")
    axes[1].set_title(f"{prompt}: Dice {scores[0]:.2f}")
    axes[2].set_title(f"adapted, no prompt: Dice {scores[1]:.2f}")


def choices(ax: Axes, genotype: dict, kernels: Mapping[str, object]) -> None:
    """Uniform, then the operator probabilities of every block as one bar, its kernel beside it.

    A kernel `r r k k` is shown as the norm of each of its taps: dark where it looks.
    """
    names, blocks = genotype["operators"], genotype["blocks"]
    colours = theme.operator_colours(names)
    uniform = {"block": "before", "probability": [1 / len(names)] * len(names)}
    for row, block in enumerate([uniform, *blocks]):
        starts = np.cumsum([0, *block["probability"][:-1]])
        for name, start, p in zip(names, starts, block["probability"], strict=True):
            ax.barh(row, p, left=start, color=colours[name], ec="white", lw=0.5, height=0.8)
        if row:
            _tile(ax, kernels.get(block["block"]), 1.08, row)
            ax.text(1.17, row, _projected(block), va="center")
    ax.text(1.01, 0, "kernel" if kernels else "", va="center")
    ax.text(1.17, 0, "projection (off centre)", va="center")
    labels = [b["block"] for b in (uniform, *blocks)]
    ax.set(yticks=range(len(labels)), yticklabels=labels, xlim=(0, 1.5), xticks=(0, 0.5, 1))
    ax.set_ylim(len(blocks) + 0.5, -0.5)
    ax.spines["bottom"].set_bounds(0, 1)
    ax.set_title("operator probabilities, from uniform to the choice")


def _projected(block: dict) -> str:
    """The projection's name, and the share of the kernel's effect that lies off its centre."""
    off = block.get("residual", {}).get("conv_1x1")
    name = block["projection"] or "none fits"
    return name if off is None else f"{name} ({off:.0%})"


def _tile(ax: Axes, kernel, x: float, y: float) -> None:
    if kernel is None:
        return
    norm = np.sqrt(np.linalg.norm(as_array(kernel), axis=(0, 1)))  # the root shows weak taps too
    shown = OffsetImage(norm, zoom=17 / len(norm), cmap="Greys", interpolation="nearest")
    shown.image.set_clim(0, norm.max() or 1)
    frame = {"edgecolor": theme.BASE, "linewidth": 0.8}
    ax.add_artist(AnnotationBbox(shown, (x, y), pad=0.05, bboxprops=frame))


def paired_seeds(ax: Axes, differences) -> str:
    """A dot a seed around the zero line, the mean as a bar; the finding in words."""
    groups = differences if isinstance(differences, Mapping) else {"": differences}
    values = [np.asarray(v, float) for v in groups.values()]
    colour = theme.ADAPTER["nas_lora"]
    for place, each in enumerate(values):
        spread = np.linspace(-0.25, 0.25, len(each)) if len(each) > 1 else np.zeros(1)
        ax.plot(place + spread, each, "o", color=colour, ms=6, mec="white")
        ax.plot([place - 0.35, place + 0.35], [each.mean()] * 2, color=colour)
    ax.axhline(0, color=theme.INK, lw=1)
    ax.set(xlim=(-0.6, len(values) - 0.4), xticks=range(len(values)), xticklabels=groups)
    ax.tick_params("x", rotation=30 if len(values) > 1 else 0, length=0)
    ax.margins(y=0.2)
    ax.set_ylabel("Dice, NAS-LoRA minus LoRA")
    ax.set_title("paired seeds")
    return _sure(np.concatenate(values))


def _sure(gains: np.ndarray) -> str:
    """The mean, its 95 % interval by Student's t, and what that allows to say."""
    said = f"{gains.mean():+.3f} Dice in {len(gains)} run{'s' * (len(gains) > 1)}"
    if len(gains) < 2:
        return said
    half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
    low, high = gains.mean() - half, gains.mean() + half
    tied = -MARGIN < low <= 0 <= high < MARGIN
    verdict = "above zero" if low > 0 else "below zero" if high < 0 else "cannot say"
    return f"{said}, {low:+.3f} to {high:+.3f}: {'a tie' if tied else verdict}"
