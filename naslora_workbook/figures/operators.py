"""What a search chose: probabilities with both readings; a kernel as a mosaic or a field."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch

from naslora_core.errors import UserError
from naslora_workbook.figures import theme
from naslora_workbook.figures.picture import Picture, titled

CHOSEN, OTHERS, COLUMNS = theme.ADAPTER["nas_lora"], "#CCCCCC", 6


def plain(genotype) -> dict:
    """A genotype as a dict with the fields of its JSON file; UserError where there is none."""
    if is_dataclass(genotype):
        return asdict(genotype)
    if not isinstance(genotype, Mapping) or "blocks" not in genotype:
        raise UserError(
            f"A genotype was expected, not {type(genotype).__name__}; methods without a search "
            "have none: use the result of a run with NASLoRA."
        )
    return dict(genotype)


def operators(genotype) -> Picture:
    """Probabilities of every block as bars, both readings marked, uniform as a dotted line.

    The argmax of alpha is the coloured bar, the choice by projection the diamond.
    """
    found = plain(genotype)
    blocks, names = found["blocks"], found["operators"]
    columns = min(COLUMNS, max(3, len(blocks)))
    figure, axes = theme.grid(len(blocks), columns, 0.5 + 0.19 * len(names), 0.5, sharey=True)
    limit = max(max(b["probability"]) for b in blocks) * 1.15
    for ax, block in zip(axes.flat, blocks, strict=False):
        _bars(ax, block, names, limit)
    figure.legend(handles=_marks(), loc="outside lower left", ncols=4)
    agree = sum(b["argmax"] == b["projection"] for b in blocks)
    title = f"Argmax of alpha and projection agree in {agree} of {len(blocks)} blocks"
    return titled(figure, title, in_words(blocks))


def in_words(blocks: list[dict]) -> str:
    """Both readings of every block, for alt texts."""
    each = (
        f"{b['block']}: argmax {b['argmax']} ({max(b['probability']):.2f}), projection "
        f"{b['projection'] or 'none fits'}"
        for b in blocks
    )
    return "; ".join(each) + "."


def _bars(ax: Axes, block: dict, names: list[str], limit: float) -> None:
    p, colours = block["probability"], [CHOSEN if n == block["argmax"] else OTHERS for n in names]
    ax.barh(range(len(names)), p, color=colours)
    ax.axvline(1 / len(names), color=theme.INK, ls=":", lw=1)
    if block["projection"] in names:
        i = names.index(block["projection"])
        ax.plot(p[i], i, "D", ms=6, mfc="white", mec=theme.INK, mew=1.3)
    theme.rows(ax, names)
    ax.set(xlim=(0, limit), title=block["block"])
    ax.locator_params("x", nbins=2)
    ax.xaxis.set_major_formatter("{x:g}")


def _marks() -> list[Line2D]:
    square = {"ls": "", "marker": "s", "ms": 8}
    return [
        Line2D([], [], color=OTHERS, label="probability (softmax of alpha)", **square),
        Line2D([], [], color=CHOSEN, label="argmax of alpha", **square),
        Line2D([], [], ls="", marker="D", mfc="white", mec=theme.INK, label="projection"),
        Line2D([], [], color=theme.INK, ls=":", lw=1, label="uniform"),
    ]


def as_array(value) -> np.ndarray:
    """numpy from arrays, tensors and numbers."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def padded(kernel: np.ndarray, side: int) -> np.ndarray:
    """A kernel `r r k k` with zeros around it, `r r side side`."""
    margin = (side - kernel.shape[-1]) // 2
    return np.pad(kernel, ((0, 0), (0, 0), (margin, margin), (margin, margin)))


def mosaic(ax: Axes, kernel) -> None:
    """Draw one kernel `r r k k` as r x r tiles with white seams, red positive, blue negative."""
    kernel = as_array(kernel)
    out, into, k, _ = kernel.shape
    framed = np.full((out, into, k + 1, k + 1), np.nan)
    framed[..., :k, :k] = kernel
    picture = framed.transpose(0, 2, 1, 3).reshape(out * (k + 1), into * (k + 1))[:-1, :-1]
    limit = np.abs(kernel).max() or 1.0
    theme.blank(ax)
    ax.imshow(picture, cmap=theme.DIVERGING, vmin=-limit, vmax=limit)


def field(ax: Axes, kernel) -> None:
    """Draw where a kernel `r r k k` looks: the norm of every tap over all channels, `k k`."""
    norm = np.linalg.norm(as_array(kernel), axis=(0, 1))
    ax.imshow(norm, cmap="Greys", vmin=0)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=theme.BASE)


def choices(genotype, kernels: Mapping[str, object], title: str) -> Picture:
    """A bar a block, cut by the operators' probabilities, with the block's kernel beside it.

    genotype: of the adapted model; kernels: its mixed kernels `r r k k` by block.
    """
    found = plain(genotype)
    height = 1.63 + 0.28 * len(found["blocks"])
    figure = theme.new_figure((theme.WIDTH, height), "constrained")
    _cut_bars(figure.subplots(), found, kernels)
    colours = theme.operator_colours(found["operators"])
    handles = [Patch(color=colour) for colour in colours.values()]
    figure.legend(handles, list(colours), loc="outside lower left", ncols=5, handlelength=0.8)
    return titled(figure, title, in_words(found["blocks"]))


def _cut_bars(ax: Axes, genotype: dict, kernels: Mapping[str, object]) -> None:
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
    theme.rows(ax, [block["block"] for block in (equal, *blocks)])
    ax.set(xlim=(0, 1.1), xticks=(0, 0.5, 1))
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
