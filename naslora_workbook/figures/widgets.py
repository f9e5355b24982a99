"""A slider where someone can move it, the same pictures side by side where nobody can.

Which of the two is decided once, here. Live means: an IPython kernel whose front end can answer
questions. papermill, nbval, nbconvert and jupytext all run cells with `allow_stdin` false, while
JupyterLab, Notebook, Colab and VS Code allow it. The variable NASLORA_STATIC overrules: `panel`
for small multiples, `frames` for a slider with baked pictures that needs no kernel.
"""

import html
import os
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import DIVERGING, WIDTH, blank, canvas, finding, new_figure

STATIC = "NASLORA_STATIC"
COLUMNS = 4  # side by side at most


def is_live() -> bool:
    """Whether a person can move a widget in this kernel."""
    if os.environ.get(STATIC):
        return False
    try:
        import ipywidgets  # noqa: F401
        from IPython import get_ipython

        parent = get_ipython().kernel.get_parent()
    except (ImportError, AttributeError):  # no widgets, no IPython, or a terminal
        return False
    return bool(parent.get("content", {}).get("allow_stdin"))


def is_baked() -> bool:
    """Whether pictures are made for a page that has no kernel but can be moved."""
    return os.environ.get(STATIC) == "frames"


def explore(draw: Callable, values: Sequence, label: str, title="", few=None, **layout):
    """`draw(ax, value)` under a slider where that is live, else for all values side by side.

    few: the values to show where nothing moves, by default all; layout: as `panel`'s `axes` and
    `height`. Displays nothing by itself: end the cell with it.
    """
    if is_live():
        return _slider(draw, values, label, **layout)
    if is_baked():
        return frames(draw, values, label, **layout)
    return panel(draw, few or values, label, title, **layout)


def _slider(draw: Callable, values: Sequence, label: str, **layout):
    import ipywidgets

    @lru_cache(maxsize=64)
    def at(index: int) -> str:
        return single(draw, values[index], label, quick=True, **layout).html

    middle = len(values) // 2
    slider = ipywidgets.SelectionSlider(
        options=[(text(value), i) for i, value in enumerate(values)],
        index=middle,
        description=label,
        style={"description_width": "initial"},
        layout={"width": "60%"},
    )
    picture = ipywidgets.HTML(at(middle))
    slider.observe(lambda change: setattr(picture, "value", at(change["new"])), "value")
    return ipywidgets.VBox([slider, picture])


def frames(draw: Callable, values: Sequence, label: str, **layout):
    """Every value's picture in one piece of HTML, moved by mouse or arrow keys, offline.

    A range input shows one of them: a slider without kernel and network.
    """
    from IPython.display import HTML

    pages = [single(draw, value, label, **layout).html for value in values]
    middle, alt = len(pages) // 2, html.escape(describe(label, values), quote=True)
    shown = "".join(
        f'<figure {"" if i == middle else "hidden"} style="margin:0">{page}</figure>'
        for i, page in enumerate(pages)
    )
    move = (
        "const f=this.parentElement.querySelectorAll('figure');"
        "f.forEach((e,i)=>e.hidden=i!=this.value);"
        "this.setAttribute('aria-valuetext',f[this.value].querySelector('img').alt)"
    )
    return HTML(
        f'<div class="naslora-frames"><input type="range" min="0" max="{len(pages) - 1}" '
        f'value="{middle}" style="width:60%" aria-label="{alt}" oninput="{move}">{shown}</div>'
    )


def panel(
    draw: Callable,
    values: Sequence,
    label: str = "",
    title: str = "",
    axes: int = 1,
    height: float | None = None,
) -> Picture:
    """`draw(ax, value)` for every value on axes of its own: the static form of a slider.

    label: what the values are, written above each; axes: where a value needs several, `draw`
    receives a list of them, and each value is a row. `draw` may return the axes' title.
    height: of a row in inches; axes are square where it is not given.
    """
    columns = axes if axes > 1 else min(COLUMNS, len(values))
    rows = len(values) if axes > 1 else -(-len(values) // columns)
    height = height or WIDTH / columns + 0.25
    figure, grid = canvas(rows, columns, height=rows * height)
    places = grid.tolist() if axes > 1 else [[ax] for ax in grid.flat]
    for place, value in zip(places, values, strict=False):
        _draw(draw, place, value, label)
    for place in places[len(values) :]:
        place[0].axis("off")
    if title:
        finding(figure, title)
    return Picture(figure, title or describe(label, values))


def single(
    draw: Callable, value, label: str, axes: int = 1, quick=False, height: float | None = None
) -> Picture:
    """The same function at one value, as a slider shows it."""
    side = WIDTH / 2 if axes == 1 else WIDTH / axes
    figure = new_figure((side * axes, height or side + 0.25), "compressed")
    _draw(draw, list(figure.subplots(1, axes, squeeze=False).flat), value, label)
    return Picture(figure, describe(label, [value]), quick)


def side_by_side(target: np.ndarray, yours: np.ndarray) -> Picture:
    """Target and yours on one scale around 0, and their difference where the shapes agree.

    Of more than two dimensions the last two are shown, of the others the first entry.
    """
    pictures = {"target": _flat(target), "yours": _flat(yours)}
    limit = max(np.abs(p[np.isfinite(p)]).max(initial=0) for p in pictures.values()) or 1
    if target.shape == yours.shape:
        pictures["yours - target"] = _flat(yours - target)
    figure, axes = canvas(1, 3, height=1.9)
    for ax in axes.flat:
        blank(ax)
    for ax, (name, picture) in zip(axes[0], pictures.items(), strict=False):
        shown = ax.imshow(picture, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
        ax.set_title(name)
        ax.set_xlabel(f"{picture.shape[0]} × {picture.shape[1]}")
    figure.colorbar(shown, ax=axes)
    return Picture(figure, f"Target {target.shape} and yours {yours.shape} side by side.")


def _flat(array: np.ndarray) -> np.ndarray:
    while array.ndim > 2:
        array = array[0]
    return np.atleast_2d(array)


def describe(label: str, values: Sequence) -> str:
    """Words for a picture without a finding: what was varied."""
    return f"{label or 'Value'}: {', '.join(map(text, values))}"


def text(value) -> str:
    """A value as a label: numbers short, the rest by their own words."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _draw(draw: Callable, place: list, value, label: str) -> None:
    title = draw(place[0] if len(place) == 1 else place, value)
    heading = title if isinstance(title, str) else f"{label} {text(value)}".strip()
    place[0].set_title(heading)
