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

from naslora_workbook.figures.panels import describe, panel, single, text

STATIC = "NASLORA_STATIC"


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


def explore(
    draw: Callable,
    values: Sequence,
    label: str = "",
    title: str | None = None,
    axes: int = 1,
    few: Sequence | None = None,
    height: float | None = None,
):
    """`draw(ax, value)` under a slider where that is live, else for all values side by side.

    Arguments as `panel`'s; few: the values to show where nothing moves, by default all;
    height: of a picture in inches.
    Displays nothing by itself: end the cell with it.
    """
    if is_live():
        return _slider(draw, values, label, axes, height)
    if is_baked():
        return frames(draw, values, label, axes, height)
    return panel(draw, few or values, label, title, axes=axes, height=height)


def _slider(draw: Callable, values: Sequence, label: str, axes: int, height: float | None = None):
    import ipywidgets

    @lru_cache(maxsize=64)
    def at(index: int) -> str:
        return single(draw, values[index], label, axes, quick=True, height=height).html

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


class Frames:
    """Pictures baked into HTML under a range input: a slider without kernel and network."""

    def __init__(self, pages: Sequence[str], labels: Sequence[str], alt: str):
        self.pages, self.labels, self.alt = list(pages), list(labels), alt

    def __repr__(self) -> str:
        return "<Frames>"

    def _repr_html_(self) -> str:
        middle = len(self.pages) // 2
        shown = "".join(
            f'<figure {"" if i == middle else "hidden"} style="margin:0">{page}</figure>'
            for i, page in enumerate(self.pages)
        )
        move = (
            "const f=this.parentElement.querySelectorAll('figure');"
            "f.forEach((e,i)=>e.hidden=i!=this.value);"
            "this.setAttribute('aria-valuetext',f[this.value].querySelector('img').alt)"
        )
        alt = html.escape(self.alt, quote=True)
        return (
            f'<div class="naslora-frames"><input type="range" min="0" max="{len(self.pages) - 1}" '
            f'value="{middle}" style="width:60%" aria-label="{alt}" oninput="{move}">{shown}</div>'
        )


def frames(
    draw: Callable, values: Sequence, label: str = "", axes: int = 1, height: float | None = None
) -> Frames:
    """Every value's picture in one piece of HTML, moved by mouse or arrow keys, offline."""
    pages = [single(draw, value, label, axes, height=height).html for value in values]
    return Frames(pages, list(map(text, values)), describe(label, values))
