"""How far a low-rank path looks and who decides: fields of experts, routes of windows."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.patches import Rectangle
from torch import Tensor

from naslora_workbook.figures import theme
from naslora_workbook.figures.operators import as_array
from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.figures.widgets import explore

LETTERS = 14  # points, of an expert's number on its window
EXPERTS = theme.OPERATORS[1:]


def fields(rows: Mapping[str, Sequence[Tensor]]) -> Picture:
    """For every scale 1, 2, ... the weight `n n` that each token has in the middle one's answer.

    rows: by the kind of kernel. Drawn is the root of its share, on one scale for all.
    """
    count = len(next(iter(rows.values())))
    height = len(rows) * (theme.WIDTH / count + 0.2) + 0.3
    figure, axes = theme.canvas(len(rows), count, height)
    shares = {n: [as_array(f) / as_array(f).sum() for f in row] for n, row in rows.items()}
    owns = {n: [float(f[len(f) // 2, len(f) // 2]) for f in row] for n, row in shares.items()}
    for line, (name, row) in zip(axes, shares.items(), strict=True):
        for ax, share, own in zip(line, row, owns[name], strict=True):
            ax.imshow(np.sqrt(share), cmap=theme.SEQUENTIAL, vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[], xlabel=f"own {own:.0%}")
        line[0].set_ylabel(name)
    for i, ax in enumerate(axes[0], 1):
        ax.set_title(f"scale {i}", loc="center")
    kind, first = next(iter(owns.items()))
    title = f"{kind.capitalize()} kernels: the larger the scale, the smaller the neighbourhood"
    title += f" (own share {first[0]:.0%} to {first[-1]:.0%})"
    parts = (f"{name} {own[0]:.0%} to {own[-1]:.0%}" for name, own in owns.items())
    return titled(figure, title, f"By kernel, first to last scale: {'; '.join(parts)}.")


def router_walk(
    places: Sequence[float], shares: Sequence[Sequence[float]], losses: Mapping[str, Sequence]
):
    """A router moved along a walk, under a slider: its shares, and the task's loss of two routers.

    shares: the softmax over the experts at each place; the largest is top-1's choice. losses: by
    the kind of router, one number a place; each has its own axis.
    """
    flat = {name: sum(a == b for a, b in zip(v, v[1:], strict=False)) for name, v in losses.items()}

    def draw(axes, place):
        at = list(places).index(place)
        _shares(axes[0], shares[at])
        for ax, (name, values) in zip(axes[1:], losses.items(), strict=True):
            colour = theme.ADAPTER["conv_lora" if name.startswith("top") else "nas_lora"]
            ax.plot(places, values, "o-", ms=2, lw=0.8, color=colour)
            ax.plot(place, values[at], "o", ms=7, mfc="none", mec=theme.INK, mew=1.5)
            span = max(values) - min(values)
            ax.set(xlabel="angle, radians", title=f"{name}: range {span:.4f}")
            ax.ticklabel_format(useOffset=False)
            ax.locator_params(axis="y", nbins=4)
        axes[1].set_ylabel("task loss")

    parts = (f"{name} {n} of {len(places) - 1}" for name, n in flat.items())
    title = "Steps that do not change the loss at all: " + ", ".join(parts)
    few = [places[0], places[len(places) // 3]]
    return explore(draw, list(places), "angle", title, axes=3, few=few, height=1.9)


def _shares(ax, shares: Sequence[float]) -> None:
    """The router's shares as bars, the largest in colour."""
    best = int(np.argmax(shares))
    colours = [theme.ADAPTER["conv_lora"] if i == best else "#CCCCCC" for i in range(len(shares))]
    ax.bar(range(1, len(shares) + 1), shares, color=colours)
    ax.set(xlabel="expert", ylabel="softmax share", ylim=(0, 1))
    ax.set_xticks(range(1, len(shares) + 1))


def routes(photo: np.ndarray, chosen: Mapping[str, Tensor], window: int) -> Picture:
    """The expert 1, 2, ... of every window, on the square image, a panel for every block.

    photo: uint8 `S S 3`; chosen: by the block's name, the experts of its windows `rows columns`;
    window: their side in pixels (the last ones are cut off where it does not divide the image).
    """
    columns = min(3, len(chosen))
    figure, axes = theme.grid(len(chosen), columns, theme.WIDTH / columns - 0.3)
    for ax in axes.flat:
        ax.axis("off")
    for ax, (name, experts) in zip(axes.flat, chosen.items(), strict=False):
        _route(ax, photo, as_array(experts), window)
        ax.set_title(name)
    windowed = [as_array(e) for e in chosen.values() if as_array(e).size > 1]
    apart = sum(len(np.unique(e)) > 1 for e in windowed)
    title = f"In {apart} of {len(windowed)} windowed blocks, windows of one image go to different "
    said = "; ".join(f"{n}: {as_array(e).astype(int).tolist()}" for n, e in chosen.items())
    return titled(figure, f"{title}experts", f"{said}.")


def _route(ax, photo: np.ndarray, experts: np.ndarray, window: int) -> None:
    """One block: its windows over the photo, each with its expert's number in a coloured ring."""
    side, count = photo.shape[0], experts.shape[0]
    each = window if count > 1 else side
    ax.imshow(photo)
    for (row, column), expert in np.ndenumerate(experts):
        colour = EXPERTS[(int(expert) - 1) % len(EXPERTS)]
        place = (column * each, row * each)
        wide, high = (min(each, side - at) for at in place)
        ax.add_patch(Rectangle(place, wide, high, facecolor="none", edgecolor="white", lw=1.5))
        middle = (place[0] + wide / 2, place[1] + high / 2)
        badge = {"boxstyle": "circle,pad=0.2", "fc": "white", "ec": colour, "lw": 3}
        style = {"ha": "center", "va": "center", "fontsize": LETTERS, "fontweight": "bold"}
        ax.annotate(str(int(expert)), middle, color=theme.INK, bbox=badge, **style)
