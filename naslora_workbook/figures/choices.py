"""What a search has chosen: the operator probabilities of every block, and its mixed kernel."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch

from naslora_workbook.figures import theme
from naslora_workbook.figures.operators import as_array, in_words, plain
from naslora_workbook.figures.picture import Picture, titled


def choices(genotype, kernels: Mapping[str, object], title: str) -> Picture:
    """A bar a block, cut by the operators' probabilities, with the block's kernel beside it.

    genotype: of the adapted model; kernels: its mixed kernels `r r k k` by block.
    """
    found = plain(genotype)
    figure = theme.new_figure(
        (theme.WIDTH, 1.35 + 0.28 * (len(found["blocks"]) + 1)), "constrained"
    )
    _bars(figure.subplots(), found, kernels)
    colours = theme.operator_colours(found["operators"])
    handles = [Patch(color=colour) for colour in colours.values()]
    figure.legend(handles, list(colours), loc="outside lower left", ncols=5, handlelength=0.8)
    return titled(figure, title, in_words(found["blocks"]))


def _bars(ax: Axes, genotype: dict, kernels: Mapping[str, object]) -> None:
    """Equal probabilities first, then those of every block."""
    names, blocks = genotype["operators"], genotype["blocks"]
    colours = theme.operator_colours(names)
    equal = {"block": "before", "probability": [1 / len(names)] * len(names)}
    for row, block in enumerate([equal, *blocks]):
        starts = np.cumsum([0, *block["probability"][:-1]])
        for name, start, p in zip(names, starts, block["probability"], strict=True):
            ax.barh(row, p, left=start, color=colours[name], ec="white", lw=0.5, height=0.8)
        _tile(ax, kernels.get(block["block"]), 1.06, row)
    ax.text(1.06, 0, "kernel", ha="center", va="center")
    labels = [block["block"] for block in (equal, *blocks)]
    ax.set(yticks=range(len(labels)), yticklabels=labels, xlim=(0, 1.1), xticks=(0, 0.5, 1))
    ax.set_ylim(len(blocks) + 0.5, -0.5)
    ax.spines["bottom"].set_bounds(0, 1)
    ax.set_xlabel("probability of each operator, in the order of the legend", loc="left")


def _tile(ax: Axes, kernel, x: float, y: float) -> None:
    """A kernel `r r k k` as the norm of each of its taps: the darker, the larger."""
    if kernel is None:
        return
    norm = np.sqrt(np.linalg.norm(as_array(kernel), axis=(0, 1)))  # the root shows weak taps too
    shown = OffsetImage(norm, zoom=17 / len(norm), cmap="Greys", interpolation="nearest")
    shown.image.set_clim(0, norm.max() or 1)
    frame = {"edgecolor": theme.BASE, "linewidth": 0.8}
    ax.add_artist(AnnotationBbox(shown, (x, y), pad=0.05, bboxprops=frame))
