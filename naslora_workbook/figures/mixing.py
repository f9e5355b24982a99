"""Candidate operators and their mixture: kernels, impulse responses, the price of more, sliders."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from naslora_workbook.figures import theme
from naslora_workbook.figures.operators import as_array, field, mosaic, padded
from naslora_workbook.figures.picture import Picture, Rows, titled  # noqa: F401  (lessons take Rows from here)
from naslora_workbook.figures.widgets import frames, is_baked, is_live, single

ROOM = 9  # side of the map on which an impulse is answered
RAISED = 3.0  # alpha of the one operator that a picture raises above the others
WAYS = {"maps": (theme.ADAPTER["conv_lora"], "s--"), "kernels": (theme.ADAPTER["nas_lora"], "o-")}


@torch.no_grad()
def responses(operator) -> Tensor:
    """What an operator makes of an impulse in each of its r channels: `r r 9 9`, in, out."""
    impulses = torch.zeros(operator.rank, operator.rank, ROOM, ROOM)
    impulses[range(operator.rank), range(operator.rank), ROOM // 2, ROOM // 2] = 1
    return operator(impulses)


def candidates(operators: Sequence) -> Picture:
    """The kernel of every operator (out in rows, in in columns) above its impulse response."""
    side = max(op.side for op in operators)
    figure, axes = theme.canvas(2, len(operators), height=2 * theme.WIDTH / len(operators) + 0.75)
    fields = [responses(op).square().sum((0, 1)).sqrt() for op in operators]
    for (above, below), op, response in zip(axes.T, operators, fields, strict=True):
        mosaic(above, padded(op.kernel().detach().numpy(), side))
        above.set_title("\n".join(op.name.rsplit("_", 1)).replace("_", " "), loc="center")
        field(below, response[None, None])
    axes[0, 0].set_ylabel("kernel")
    axes[1, 0].set_ylabel("impulse\nresponse")
    counts = [int((response > 0).sum()) for response in fields]
    for ax, count in zip(axes[1], counts, strict=True):
        ax.set_xlabel(f"{count} token{'s' * (count != 1)}")
    title = f"The {len(operators)} operators reach between {min(counts)} and {max(counts)} tokens"
    each = ", ".join(f"{op.name} {n}" for op, n in zip(operators, counts, strict=True))
    return titled(figure, title, f"{each}.")


def price(times: Mapping[tuple[str, int], Sequence[float]]) -> Picture:
    """Milliseconds a step over the number of operators, for mixed maps and for mixed kernels.

    times: by ("maps" or "kernels", number of operators); of each the fastest counts.
    """
    figure, ax = theme.chart(2.5)
    counts = sorted({n for _, n in times})
    few, *_, many = counts
    for way, (colour, style) in WAYS.items():
        ax.plot(counts, [min(times[way, n]) for n in counts], style, color=colour, label=way)
    grown = {way: min(times[way, many]) / min(times[way, few]) for way in WAYS}
    ax.set(xlabel="operators in the cell", ylabel="ms of processor time a step", xticks=counts)
    ax.set_ylim(bottom=0)
    ax.legend(title="what is mixed")
    parts = " and ".join(f"x {factor:.1f} for {way}" for way, factor in grown.items())
    title = f"From {few} to {many} operators, the time of a step grows {parts}"
    return titled(figure, title)


def alphas(cell, z: Tensor, raised: Sequence[str] = ()):
    """The mixed kernel, its field and a feature map, for the alphas that someone sets.

    z `1 r H W`. Live: a slider for every operator, moved by mouse or arrow keys. Otherwise a column
    for equal alphas and for each operator of `raised` above the others (as frames, for each).
    """
    if is_live():
        return _sliders(cell, z)
    states = ["equal", *(cell.names if is_baked() else raised)]
    cells = {s: _with(cell, [RAISED * (n == s) for n in cell.names]) for s in states}
    if is_baked():
        return frames(lambda axes, state: mixture(axes, cells[state], z), states, "alpha", axes=3)
    figure, axes = theme.canvas(3, len(states), height=3 * theme.WIDTH / max(4, len(states)) + 0.5)
    for column, each in zip(axes.T, cells.values(), strict=True):
        column[0].set_title(mixture(column, each, z))
    for ax, name in zip(axes[:, 0], ("mixed kernel", "size of taps", "one channel"), strict=True):
        ax.set_ylabel(name)
    title = "The mixed kernel takes the shape of the operator whose alpha is raised"
    shares = ", ".join(f"{_centre(each):.0%} ({state})" for state, each in cells.items())
    return titled(figure, title, f"Energy in the kernel's centre: {shares}.")


def tap_steps(predicted: Tensor, measured: Tensor) -> Picture:
    """How far one step moves each tap of the cell's kernel, a free kernel's step being 1.

    Both `k k`: counted from the operators, and measured.
    """
    maps = {"predicted": as_array(predicted), "measured": as_array(measured)}
    top = max(steps.max() for steps in maps.values())
    figure, axes, shown = theme.image_row(maps, 2.9, cmap="Greys", vmin=0, vmax=top)
    for ax, steps in zip(axes, maps.values(), strict=True):
        theme.cells(ax, steps, ".2f", dark=0.6 * top)
    figure.colorbar(shown, ax=axes, label="step / step of a free 5x5")
    middle = len(measured) // 2
    centre, outer = float(measured[middle, middle]), float(measured[0, 1])
    title = f"The centre tap moves {centre:.1f} times as far as a free 5x5's, weak taps {outer:.1f}"
    return titled(figure, title, "Left: counted from the operators. Right: measured.")


def _with(cell, alpha: Sequence[float]):
    """A copy of the cell with other alphas."""
    cell = copy.deepcopy(cell)
    cell.arch_alpha.data.copy_(torch.tensor(alpha))
    return cell


@torch.no_grad()
def _centre(cell) -> float:
    """Share of the mixed kernel's energy in its centre tap."""
    energy = cell.kernel().square().sum((0, 1))
    return float(energy[len(energy) // 2, len(energy) // 2] / energy.sum())


@torch.no_grad()
def mixture(axes: Sequence, cell, z: Tensor) -> str:
    """Draw a cell on three axes: kernel, field, first channel; the words for its title."""
    mosaic(axes[0], cell.kernel())
    field(axes[1], cell.kernel())
    axes[2].imshow(as_array(cell(z)[0, 0]), cmap=theme.SEQUENTIAL)
    theme.blank(axes[2])
    weight, first = cell.probabilities().max(0)
    equal = bool(weight * len(cell.names) < 1 + 1e-6)
    return "equal alphas" if equal else f"{cell.names[first]} {float(weight):.2f}"


def _sliders(cell, z: Tensor):
    import ipywidgets

    picture, ends = ipywidgets.HTML(), {"min": -3, "max": 5, "step": 0.25}
    values = zip(cell.names, cell.arch_alpha.tolist(), strict=True)
    sliders = [ipywidgets.FloatSlider(value=a, description=name, **ends) for name, a in values]

    def redraw(*_) -> None:
        moved = _with(cell, [slider.value for slider in sliders])
        shown = single(lambda axes, _: mixture(axes, moved, z), "", "", axes=3, quick=True)
        picture.value = shown.html

    for slider in sliders:
        slider.continuous_update = False
        slider.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*sliders, picture])
