"""Searches whose answer is known: who moves when, what a budget allows, a race, a grid of hits."""

from collections.abc import Mapping, Sequence
from math import log

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from naslora_workbook.figures import theme
from naslora_workbook.figures.picture import Picture, titled

ALPHA, WEIGHTS = theme.ADAPTER["nas_lora"], theme.BASE
READINGS = ("projection", "argmax")
FITS = 0.01  # share of the energy that a class may leave


def turns(schedules: Sequence, ways: Mapping[str, Sequence], ends: Mapping[str, tuple]) -> Picture:
    """Left: what moves at every step of each schedule. Right: their ways through (alpha, w).

    ways: by schedule's name its points (alpha, w); ends: points to compare with, by name.
    """
    figure, ((left, right),) = theme.canvas(1, 2, height=3.0)
    for row, schedule in enumerate(schedules):
        moves = [s.moves_at(i)[0] for s in schedule.stages for i in range(s.steps)]
        for kind, top, colour in (("weights", 0.02, WEIGHTS), ("alpha", -0.36, ALPHA)):
            steps = [i for i, moved in enumerate(moves) if kind in moved]
            style = {"color": colour, "label": None if row else kind}
            left.bar(steps, 0.34, 1, [row + top] * len(steps), **style)
    theme.rows(left, [s.name for s in schedules])
    left.set(xlabel="step", ylim=(len(schedules) - 0.4, -0.95))
    left.legend(loc="upper left", ncols=2, handlelength=1, borderpad=0)
    for (name, way), line in zip(ways.items(), ("--", "-", ":"), strict=False):
        right.plot(*zip(*way, strict=True), line, color=theme.INK, label=name)
        right.plot(*way[-1], "o", color=theme.INK, ms=6)
    for name, point in ends.items():
        right.plot(*point, "*", color=ALPHA, ms=9, zorder=5)
        right.annotate(name, point, xytext=(-8, 3), textcoords="offset points", ha="right")
    right.set(xlabel="alpha", ylabel="weight w")
    right.legend(loc="lower right")
    title = "Alpha ends at " + ", ".join(f"{way[-1][0]:.2f} ({n})" for n, way in ways.items())
    return titled(figure, title, f"Closed form: {dict(ends)}.")


def budgets(measured: Mapping[float, Sequence[float]], operators: int) -> Picture:
    """The winner's probability over Adam's steps, by learning rate: formula and measured dots."""
    figure, ax = theme.chart(2.5)
    steps = np.unique(np.logspace(0, 4, 200).astype(int))
    for (rate, way), colour in zip(measured.items(), (theme.BASE, ALPHA), strict=False):
        ax.plot(steps, 1 / (1 + (operators - 1) * np.exp(-2 * rate * steps)), color=colour)
        seen = [s for s in (1, 3, 10, 30, 100, 300, 1000) if s <= len(way)]
        ax.plot(seen, [way[s - 1] for s in seen], "o", color=colour, label=f"lr {rate:g}")
    ax.axhline(1 / operators, color=theme.INK, ls=":", lw=1)
    ax.text(1, 1 / operators + 0.04, "uniform")
    ax.set(
        xscale="log", xlabel="steps that move alpha", ylabel="winner's probability", ylim=(0, 1.05)
    )
    ax.legend(loc="upper left", title="line: formula, dots: Adam")
    half = (f"{round(log(operators - 1) / (2 * rate))} steps at {rate:g}" for rate in measured)
    title = f"A probability of one half takes {', '.join(half)}"
    return titled(figure, title, f"{operators} operators.", at=ax)


def expressions(left: Mapping[str, Mapping[str, float]], answers: Mapping[str, str]) -> Picture:
    """What every class (columns) leaves of every teacher (rows); the right answer is framed."""
    teachers, classes = list(left), list(next(iter(left.values())))
    figure, ax = theme.chart(3.5)
    shares = np.array([[left[t][c] for c in classes] for t in teachers])
    ax.imshow(shares, cmap="Greys", vmin=0, vmax=2, aspect="auto")
    theme.cells(ax, shares, ".2f")
    for row, teacher in enumerate(teachers):
        _frame(ax, [row], [classes.index(answers[teacher])])
    ax.set_xticks(range(len(classes)), [c.replace("_", "\n", 1) for c in classes])
    theme.rows(ax, teachers)
    ax.set(xlabel="class that is fitted, cheap ones first", ylabel="planted")
    fits = (shares <= FITS).sum(1)
    title = f"{fits.min()} to {fits.max()} classes fit a teacher; the cheapest is framed"
    said = ", ".join(f"{answer} for {teacher}" for teacher, answer in answers.items())
    return titled(figure, title, f"{said}.", at=ax)


def race(result, operators: Sequence[str]) -> Picture:
    """One search: every operator's probability over the steps; below, what both readings say."""
    figure, ((above,), (below,)) = theme.canvas(2, 1, 3.4, sharex=True, height_ratios=(3, 1))
    ways(above, result, operators)
    above.set(xlabel="", ylabel="probability")
    colours, steps = theme.operator_colours(operators), [e["step"] for e in result.history]
    width = min(np.diff(steps), default=1)
    for row, reading in enumerate(READINGS):
        said = [colours.get(e[reading], "white") for e in result.history]
        below.bar(steps, 0.8, width, [row - 0.4] * len(said), color=said)
    below.set(yticks=(0, 1), yticklabels=READINGS, xlabel="step", ylim=(1.5, -0.5))
    figure.legend(*above.get_legend_handles_labels(), loc="outside right center", handlelength=1)
    words = [f"{reading} says {getattr(result, reading)}" for reading in READINGS]
    title = f"The right answer is {result.cheapest}; {' and '.join(words)}"
    since = result.steps_to("projection")
    told = f"Right from step {since} on" if since else "Projection does not end right"
    return titled(figure, title, f"{told}.")


def ways(ax: Axes, result, operators: Sequence[str]) -> str:
    """Draw every operator's probability, the right one bold; both readings as a title."""
    steps = [e["step"] for e in result.history]
    for i, (name, colour) in enumerate(theme.operator_colours(operators).items()):
        way, width = [e["probability"][i] for e in result.history], 1.2
        if name == result.cheapest:
            name, width = f"{name} (right)", 3
        ax.plot(steps, way, color=colour, lw=width, label=name)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("step")
    return f"projection {result.projection}\nargmax {result.argmax}"


def confusion(races: Sequence, field: Mapping[str, str]) -> Picture:
    """What argmax and projection name (columns) for every planted operator (rows), as counts.

    field: receptive field by operator; operators of one field stand together, in one frame.
    """
    figure, (axes,) = theme.canvas(1, 2, height=3.6, sharey=True)
    names = [n for f in dict.fromkeys(field.values()) for n in field if field[n] == f]
    planted = [n for n in names if any(r.planted == n for r in races)]
    right = {}
    for ax, reading in zip(axes, reversed(READINGS), strict=True):
        counts = np.zeros((len(planted), len(names)))
        for r in races:
            if getattr(r, reading) in names:
                counts[planted.index(r.planted), names.index(getattr(r, reading))] += 1
        ax.imshow(counts, cmap="Greys", vmin=0, vmax=1.6 * counts.max(), aspect="auto")
        theme.cells(ax, np.where(counts, counts, np.nan), ".0f")
        for value in dict.fromkeys(field[name] for name in planted):
            same = [[i for i, n in enumerate(of) if field[n] == value] for of in (planted, names)]
            _frame(ax, *same)
        ax.set_xticks(range(len(names)), names, rotation=90)
        right[reading] = sum(field[r.cheapest] == field.get(getattr(r, reading)) for r in races)
        ax.set(xlabel="operator named", title=reading)
    theme.rows(axes[0], planted)
    axes[0].set_ylabel("operator planted")
    title = (
        f"Argmax finds the receptive field (frames) in {right['argmax']} of {len(races)} answers"
    )
    return titled(figure, f"{title}, projection in {right['projection']}")


def _frame(ax: Axes, rows: list[int], columns: list[int]) -> None:
    """A frame around a block of an image's cells."""
    corner = columns[0] - 0.47, rows[0] - 0.47
    size = len(columns) - 0.06, len(rows) - 0.06
    ax.add_patch(Rectangle(corner, *size, fill=False, ec=ALPHA, lw=2))
