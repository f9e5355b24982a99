"""A token map cut into windows and put together again, step by step."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from naslora_workbook.figures.theme import INK, blank
from naslora_workbook.figures.widgets import explore

PADDING = "#DDDDDD"
GAPS = {  # step -> (whether zeros are added, tokens between two windows)
    "1 map": (False, 0.0),
    "2 padded": (True, 0.0),
    "3 cut": (True, 0.5),
    "4 windows": (True, 1.0),
    "5 joined": (True, 0.5),
    "6 padding off": (True, 0.0),
    "7 map again": (False, 0.0),
}


def windows_and_back(photo: np.ndarray, side: int = 10, window: int = 4):
    """A photograph `H W 3` as `side × side` tokens, through windows and back, under a slider.

    One square is one token, in its mean colour; numbers are places in the batch.
    """
    height, width = photo.shape[:2]
    start = (width - height) // 2
    square = Image.fromarray(photo[:, start : start + height] if width > height else photo)
    tokens = np.asarray(square.resize((side, side), Image.Resampling.BOX))

    def draw(ax, step):
        return _draw(ax, tokens, window, step)

    title = "Windows move into the batch; zeros (grey) fill up the last ones"
    few = ["1 map", "2 padded", "4 windows", "7 map again"]
    return explore(draw, list(GAPS), "step", title, few=few)


def _draw(ax: Axes, tokens: np.ndarray, window: int, step: str) -> str:
    padded, gap = GAPS[step]
    side = len(tokens)
    count = -(-side // window)
    full = side if not padded else count * window
    for i in range(count):
        for j in range(count):
            y, x = i * window, j * window
            part = tokens[y : y + window, x : x + window]
            _window(ax, part, window, (y + i * gap, x + j * gap), padded)
            if gap == 1:
                middle = x + j * gap + window / 2, y + i * gap + window / 2
                halo = {"boxstyle": "circle,pad=0.2", "fc": "white", "ec": INK}
                ax.text(*middle, f"{i * count + j}", ha="center", va="center", bbox=halo)
    end = count * window + (count - 1) + 0.2
    ax.set(xlim=(-0.2, end), ylim=(end, -0.2), aspect="equal")
    blank(ax)
    shape = f"{count**2} × {window} × {window} × C" if gap else f"1 × {full} × {full} × C"
    ax.set_xlabel(shape)
    return step


def _window(ax: Axes, part: np.ndarray, window: int, corner, padded: bool) -> None:
    """The tokens of one window, and grey ones for its padding."""
    y0, x0 = corner
    for i in range(window):
        for j in range(window):
            inside = i < part.shape[0] and j < part.shape[1]
            if inside or padded:
                colour = part[i, j] / 255 if inside else PADDING
                ax.add_patch(Rectangle((x0 + j, y0 + i), 1, 1, fc=colour, ec="white", lw=0.4))
