"""How far a low-rank path looks and who decides: fields of experts, routes of windows."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.patches import Rectangle
from torch import Tensor

from naslora_workbook.figures.operators import as_array
from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import (
    ADAPTER,
    INK,
    OPERATORS,
    SEQUENTIAL,
    WIDTH,
    canvas,
    finding,
)

LETTERS = 14  # points, of an expert's number on its window
EXPERTS = OPERATORS[1:]


def fields(rows: Mapping[str, Sequence[Tensor]]) -> Picture:
    """For every scale 1, 2, ... the weight `n n` that each token has in the middle one's answer.

    rows: by the kind of kernel. Drawn is the root of its share, on one scale for all.
    """
    count = len(next(iter(rows.values())))
    figure, axes = canvas(len(rows), count, height=len(rows) * (WIDTH / count + 0.2) + 0.3)
    shares = {n: [as_array(f) / as_array(f).sum() for f in row] for n, row in rows.items()}
    owns = {n: [float(f[len(f) // 2, len(f) // 2]) for f in row] for n, row in shares.items()}
    for line, (name, row) in zip(axes, shares.items(), strict=True):
        for ax, share, own in zip(line, row, owns[name], strict=True):
            ax.imshow(np.sqrt(share), cmap=SEQUENTIAL, vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[], xlabel=f"own {own:.0%}")
        line[0].set_ylabel(name)
    for i, ax in enumerate(axes[0], 1):
        ax.set_title(f"scale {i}", loc="center")
    parts = (f"{own[0]:.0%} to {own[-1]:.0%} ({name})" for name, own in owns.items())
    title = f"A token's share in its own answer, scale 1 to {count}: " + ", ".join(parts)
    finding(figure, title)
    return Picture(figure, title)


def stairs(places: Sequence[float], losses: Mapping[str, Sequence[float]]) -> Picture:
    """The task's loss along one walk of the router, a panel for every kind of router."""
    figure, axes = canvas(1, len(losses), height=2.6)
    flat = {name: sum(a == b for a, b in zip(v, v[1:], strict=False)) for name, v in losses.items()}
    for ax, (name, values) in zip(axes[0], losses.items(), strict=True):
        top = name.startswith("top")
        colour = ADAPTER["conv_lora" if top else "nas_lora"]
        ax.plot(places, values, "o-", ms=3, lw=0.8, color=colour)
        ax.set(xlabel="position of the router on its walk", title=name)
    axes[0, 0].set_ylabel("task loss")
    parts = (f"{name} {n} of {len(places) - 1}" for name, n in flat.items())
    title = "Steps that leave the loss exactly as it was: " + ", ".join(parts)
    finding(figure, title)
    return Picture(figure, f"{title}.")


def routes(photo: np.ndarray, chosen: Mapping[str, Tensor], window: int | None = None) -> Picture:
    """The expert 1, 2, ... of every window, on the square image, a panel for every block.

    photo: uint8 `S S 3`; chosen: by the block's name, the experts of its windows `rows columns`;
    window: their side in pixels where they do not divide the image (the last ones are cut off).
    """
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, axes = canvas(rows, columns, height=rows * (WIDTH / columns - 0.3))
    for ax in axes.flat:
        ax.axis("off")
    for ax, (name, experts) in zip(axes.flat, chosen.items(), strict=False):
        _route(ax, photo, as_array(experts), window)
        ax.set_title(name)
    windowed = [as_array(e) for e in chosen.values() if as_array(e).size > 1]
    apart = sum(len(np.unique(e)) > 1 for e in windowed)
    title = (
        f"In {apart} of {len(windowed)} windowed blocks, windows of one image go to different "
        "experts"
    )
    finding(figure, title)
    return Picture(figure, f"{title}. {_in_words(chosen)}")


def _route(ax, photo: np.ndarray, experts: np.ndarray, window: int | None) -> None:
    """One block: its windows over the photo, each in its expert's colour with its number."""
    side, count = photo.shape[0], experts.shape[0]
    each = window if window and count > 1 else side / count
    ax.imshow(photo, alpha=0.7)
    for (row, column), expert in np.ndenumerate(experts):
        colour = EXPERTS[(int(expert) - 1) % len(EXPERTS)]
        place = (column * each, row * each)
        wide, high = (min(each, side - at) for at in place)
        fill = {"facecolor": colour, "alpha": 0.3, "edgecolor": "none"}
        ax.add_patch(Rectangle(place, wide, high, **fill))
        ax.add_patch(Rectangle(place, wide, high, facecolor="none", edgecolor="white", lw=1.5))
        middle = (place[0] + wide / 2, place[1] + high / 2)
        badge = {"boxstyle": "circle,pad=0.2", "fc": "white", "ec": colour, "lw": 3}
        style = {"ha": "center", "va": "center", "fontsize": LETTERS, "fontweight": "bold"}
        ax.annotate(str(int(expert)), middle, color=INK, bbox=badge, **style)


def _in_words(chosen: Mapping[str, Tensor]) -> str:
    parts = (f"{name}: {as_array(e).astype(int).tolist()}" for name, e in chosen.items())
    return "; ".join(parts) + "."
