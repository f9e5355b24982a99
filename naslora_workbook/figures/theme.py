"""One look for every figure: colours with fixed meanings, one font size (but for words that stand
inside of narrow marks), titles that find.

The colours stay apart under protanopia, deuteranopia and tritanopia (a test simulates them), and
none carries a meaning alone: truth is an outline, a prediction an area, a prompt a star or a box.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 7.0  # inches; shown at 100 pixels an inch, stored at twice that
TRUTH, PREDICTION, PROMPT, BASE = "#F0E442", "#1E90FF", "#009E73", "#7F7F7F"
PROMPT_OUT = "#E0301E"  # SAM's red star: "not this"
INK = "#222222"
ADAPTER = {
    "decoder_only": "#56B4E9",
    "lora": "#E69F00",
    "fixed_conv": "#CC79A7",
    "conv_lora": "#332288",
    "nas_lora": "#D55E00",
}
CLASSES = (PREDICTION, "#CC79A7", "#009E73", "#E69F00")  # masks of class 1, 2, ...
OPERATORS = (  # Tol's muted scheme, in the order of an operator set; the first stands for "none"
    "#BBBBBB",
    "#332288",
    "#88CCEE",
    "#117733",
    "#DDCC77",
    "#CC6677",
    "#44AA99",
    "#882255",
    "#999933",
)
DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"
STYLE = mpl.rc_params_from_file(Path(__file__).with_name("theme.mplstyle"), False, False)


def use_theme() -> None:
    """Set matplotlib's parameters to the house style; calling it twice is calling it once."""
    mpl.rcParams.update(STYLE)


def new_figure(size: tuple[float, float], layout: str) -> Figure:
    """An empty figure of `size` inches in the house style, which the first one sets."""
    use_theme()
    return Figure(figsize=size, layout=layout)


def canvas(rows: int = 1, columns: int = 1, height: float = 2.5, **options):
    """A figure WIDTH inches wide and its axes in an array `rows columns`.

    Made without pyplot: no global state, nothing to close, nothing shown twice. `options` go to
    `Figure.subplots`.
    """
    figure = new_figure((WIDTH, height), "compressed")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def chart(height: float) -> tuple[Figure, Axes]:
    """A figure WIDTH inches wide with one pair of axes."""
    figure, axes = canvas(height=height)
    return figure, axes[0, 0]


def grid(count: int, columns: int, row: float, more: float = 0, **options):
    """A figure with `count` axes in so many columns, `row` inches high each; the rest is empty.

    more: inches for title and legend. Returns the figure and all axes, `rows columns`.
    """
    rows = -(-count // columns)
    figure, axes = canvas(rows, columns, height=rows * row + more, **options)
    for ax in axes.flat[count:]:
        ax.axis("off")
    return figure, axes


def image_row(maps: Mapping[str, np.ndarray], height: float, **scale):
    """A figure with maps `H W` side by side under their names, its axes, and the last image."""
    figure, (axes,) = canvas(1, len(maps), height)
    for ax, (name, values) in zip(axes, maps.items(), strict=True):
        shown = ax.imshow(values, **scale)
        ax.set_title(name)
    blank(axes)
    return figure, axes, shown


def finding(target: Axes | Figure, title: str) -> None:
    """Write what a reader should see, as a sentence, above axes or above the whole figure."""
    if isinstance(target, Axes):
        target.set_title(title, fontweight="bold", wrap=True)
    else:
        target.suptitle(title, x=0.006, ha="left", wrap=True)


def blank(axes: Axes | Iterable[Axes]) -> None:
    """Take ticks and frame away, as for photographs; labels and titles stay."""
    for ax in [axes] if isinstance(axes, Axes) else axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)


def rows(ax: Axes, names: Iterable[str]) -> None:
    """One row a name, the first on top."""
    names = list(names)
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))


def interval_bar(ax: Axes, y: float, low: float, high: float, colour: str, label="") -> None:
    """An interval as a thick pale line with blunt ends."""
    style = {"color": colour, "lw": 5, "alpha": 0.4, "solid_capstyle": "butt"}
    ax.plot((low, high), (y, y), label=label, **style)


def cells(ax: Axes, matrix, words: str, dark: float = np.inf) -> None:
    """A number in every cell of an image but NaN, in the format `words`; white above `dark`."""
    for (row, column), value in np.ndenumerate(matrix):
        if value == value:
            style = {"ha": "center", "va": "center", "color": "white" if value > dark else INK}
            ax.text(column, row, format(value, words), **style)


def operator_colours(names: Iterable[str]) -> dict[str, str]:
    """One colour an operator, by its place in the set; they repeat beyond nine."""
    return {name: OPERATORS[i % len(OPERATORS)] for i, name in enumerate(names)}
