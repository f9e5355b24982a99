"""Boxes, arrows and trapezoids: what the diagrams are drawn with."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon

from naslora_workbook.figures.theme import INK

FROZEN, TRAINED, DATA = "#E8E8E8", "#FDEBC8", "#FFFFFF"


def box(
    ax: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    text: str,
    edge: str = INK,
    fill: str = DATA,
    **words,
) -> None:
    """A box with text in its middle; x, y: its lower left corner; words: as `Axes.text`'s."""
    style = "round,pad=0,rounding_size=1.2"
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, ec=edge, fc=fill, lw=1.5))
    words = {"ha": "center", "va": "center", "linespacing": 1.3} | words
    ax.text(x + width / 2, y + height / 2, text, **words)


def funnel(
    ax: Axes, x: float, y: float, width: float, left: float, right: float, text: str, edge: str
) -> None:
    """A matrix that changes the width of tokens: sides `left` and `right` high, centred on y."""
    corners = [
        (x, y - left / 2),
        (x, y + left / 2),
        (x + width, y + right / 2),
        (x + width, y - right / 2),
    ]
    ax.add_patch(Polygon(corners, ec=edge, fc=TRAINED, lw=1.5))
    ax.text(x + width / 2, y, text, ha="center", va="center", linespacing=1.2)


def arrow(
    ax: Axes, start, end, text: str = "", at=(0, 0), colour: str = INK, head: bool = True
) -> None:
    """From start to end, with text centred at `at`."""
    style = {"arrowstyle": "-|>" if head else "-", "mutation_scale": 11, "color": colour, "lw": 1.2}
    ax.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))
    if text:
        ax.text(*at, text, ha="center", va="center", linespacing=1.3)


def path(ax: Axes, points, colour: str = INK) -> None:
    """A line with corners that ends in an arrow."""
    for start, end in zip(points[:-2], points[1:-1], strict=True):
        arrow(ax, start, end, colour=colour, head=False)
    arrow(ax, points[-2], points[-1], colour=colour)


def plus(ax: Axes, x: float, y: float) -> None:
    """The place where two streams are added."""
    ax.text(
        x,
        y,
        "+",
        ha="center",
        va="center",
        bbox={"boxstyle": "circle,pad=0.15", "fc": DATA, "ec": INK},
    )
