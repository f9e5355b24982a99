"""Searches whose answer is known: who moves when, what a budget allows, a race, a grid of hits."""

from collections.abc import Mapping, Sequence
from math import log
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import (
    ADAPTER,
    BASE,
    INK,
    OPERATORS,
    canvas,
    finding,
    operator_colours,
)

ALPHA, WEIGHTS = ADAPTER["nas_lora"], BASE
READINGS = {"projection": ("D", INK), "argmax": ("s", ALPHA)}
FITS = 0.01  # share of the energy that a class may leave


def turns(schedules: Sequence, ways: Mapping[str, Sequence], ends: Mapping[str, tuple]) -> Picture:
    """Left: what moves at every step of each schedule. Right: their ways through (alpha, w).

    ways: by schedule's name its points (alpha, w); ends: points to compare with, by name.
    """
    figure, ((left, right),) = canvas(1, 2, height=3.0)
    for row, schedule in enumerate(schedules):
        moves = [s.turn(i)[0] for s in schedule.stages for i in range(s.steps)]
        for kind, top, colour in (("weights", 0.02, WEIGHTS), ("alpha", -0.36, ALPHA)):
            steps = [i for i, moved in enumerate(moves) if kind in moved]
            style = {"color": colour, "label": None if row else kind}
            left.bar(steps, 0.34, 1, [row + top] * len(steps), **style)
    names = [s.name for s in schedules]
    left.set_yticks(range(len(names)), names)
    left.set(xlabel="step", ylim=(len(names) - 0.4, -0.95))
    left.legend(loc="upper left", ncols=2, handlelength=1, borderpad=0)
    for (name, way), colour in zip(ways.items(), OPERATORS[1::2], strict=False):
        right.plot(*zip(*way, strict=True), color=colour, label=name)
        right.plot(*way[-1], "o", color=colour, ms=6)
    for name, point in ends.items():
        right.plot(*point, "*", color=INK, ms=9, zorder=5)
        right.annotate(name, point, xytext=(-8, 3), textcoords="offset points", ha="right")
    right.set(xlabel="alpha", ylabel="weight w")
    right.legend(loc="lower right")
    title = "alpha ends at " + ", ".join(f"{way[-1][0]:.2f} ({n})" for n, way in ways.items())
    finding(figure, title)
    return Picture(figure, f"{title}. Closed form: {dict(ends)}.")


def budgets(measured: Mapping[float, Sequence[float]], operators: int) -> Picture:
    """The winner's probability over Adam's steps, by learning rate: formula and measured dots."""
    figure, ((ax,),) = canvas(height=2.5)
    steps = np.unique(np.logspace(0, 4, 200).astype(int))
    for (rate, way), colour in zip(measured.items(), (BASE, ALPHA), strict=False):
        ax.plot(steps, 1 / (1 + (operators - 1) * np.exp(-2 * rate * steps)), color=colour)
        seen = [s for s in (1, 3, 10, 30, 100, 300, 1000) if s <= len(way)]
        ax.plot(seen, [way[s - 1] for s in seen], "o", color=colour, label=f"lr {rate:g}")
    ax.axhline(1 / operators, color=INK, ls=":", lw=1)
    ax.text(1, 1 / operators + 0.04, "uniform")
    ax.set(xscale="log", xlabel="steps that move alpha", ylabel="winner's probability", ylim=(0, 1))
    ax.legend(loc="upper left", title="line: formula, dots: Adam")
    half = {rate: round(log(operators - 1) / (2 * rate)) for rate in measured}
    half = ", ".join(f"{n} steps at {rate:g}" for rate, n in half.items())
    finding(ax, f"Half the mixture takes {half}")
    return Picture(figure, f"Half the mixture of {operators} takes {half} of a steady gradient.")


def expressions(left: Mapping[str, Mapping[str, float]], answers: Mapping[str, str]) -> Picture:
    """What every class (columns) leaves of every teacher (rows); the right answer is framed."""
    teachers, classes = list(left), list(next(iter(left.values())))
    figure, ((ax,),) = canvas(height=3.5)
    shares = np.array([[left[t][c] for c in classes] for t in teachers])
    ax.imshow(shares, cmap="Greys", vmin=0, vmax=2, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        ax.text(column, row, f"{share:.2f}", ha="center", va="center")
        if classes[column] == answers[teachers[row]]:
            place = (column - 0.47, row - 0.46), 0.94, 0.92
            ax.add_patch(Rectangle(*place, fill=False, ec=ALPHA, lw=2.5))
    ax.set_xticks(range(len(classes)), [c.replace("_", "\n", 1) for c in classes])
    ax.set_yticks(range(len(teachers)), teachers)
    ax.set(xlabel="class that is fitted, cheap ones first", ylabel="planted")
    fits = (shares <= FITS).sum(1)
    title = f"{fits.min()} to {fits.max()} classes fit a teacher; the cheapest is framed"
    finding(ax, title)
    return Picture(figure, f"{title}: {', '.join(f'{a} for {t}' for t, a in answers.items())}.")


def race(result, operators: Sequence[str]) -> Picture:
    """One search: every operator's probability over the steps; below, what both readings say."""
    figure, ((above,), (below,)) = canvas(2, 1, 3.4, sharex=True, height_ratios=(3, 1))
    ways(above, result, operators)
    above.set(xlabel="", ylabel="probability")
    colours, steps = operator_colours(operators), [e["step"] for e in result.history]
    width = min(np.diff(steps), default=1)
    for row, reading in enumerate(READINGS):
        said = [colours.get(e[reading], "white") for e in result.history]
        below.bar(steps, 0.8, width, [row - 0.4] * len(said), color=said)
    below.set(yticks=(0, 1), yticklabels=READINGS, xlabel="step", ylim=(1.5, -0.5))
    figure.legend(*above.get_legend_handles_labels(), loc="outside right center", handlelength=1)
    words = [f"{reading} says {getattr(result, reading)}" for reading in READINGS]
    title = f"{result.cheapest} is right; {' and '.join(words)}"
    finding(figure, title)
    since = result.steps_to("projection")
    told = f"Right from step {since} on" if since else "Projection does not end right"
    return Picture(figure, f"{title}. {told}.")


def ways(ax: Axes, result, operators: Sequence[str]) -> str:
    """Draw every operator's probability, the right one bold; both readings as a title."""
    steps = [e["step"] for e in result.history]
    for i, (name, colour) in enumerate(operator_colours(operators).items()):
        way, width = [e["probability"][i] for e in result.history], 1.2
        if name == result.cheapest:
            name, width = f"{name} (right)", 3
        ax.plot(steps, way, color=colour, lw=width, label=name)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("step")
    return f"projection {result.projection}\nargmax {result.argmax}"


def hits(places: Mapping[str, Sequence], rates: Mapping[str, Mapping[str, dict]]) -> Picture:
    """The share of right answers by planted operator and reading, a plot a place.

    places: by name its searches, perhaps none yet; rates: hits and chance by place and reading.
    """
    figure, (axes,) = canvas(1, len(places), height=3.3, sharey=True, sharex=True)
    names = list(dict.fromkeys(r.planted for races in places.values() for r in races))
    said = []
    for ax, (place, races) in zip(axes, places.items(), strict=True):
        each = rates.get(place, {}).items()
        for reading, found in each:
            _marks(ax, names, races, reading)
            style = {"color": READINGS[reading][1], "ls": ":", "lw": 1.2}
            ax.axvline(found["chance"], label="its chance" if ax is axes[0] else None, **style)
        lines = [f"{w} {r['hits']:.0%} (chance {r['chance']:.0%})" for w, r in each]
        taken = [s for s in (r.steps_to("projection") for r in races) if s]
        steps = f"right from step {median(taken):.0f} (median)" if taken else ""
        lines = [f"{place}, {len(races)} searches", *(lines or ["not recorded yet", ""]), steps]
        said.append("; ".join(filter(None, lines)))
        ax.set(xlabel="share of right answers", xlim=(-0.03, 1.03), title="\n".join(lines))
    axes[0].set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    if names:
        figure.legend(loc="outside lower left", ncols=4, handlelength=1)
    gaps = {p: r["projection"]["hits"] - r["argmax"]["hits"] for p, r in rates.items()}
    gaps = ", ".join(f"{gap:+.0%} ({place})" for place, gap in gaps.items()) or "not recorded yet"
    finding(figure, f"Hits of projection minus hits of argmax: {gaps}")
    return Picture(figure, f"{'. '.join(said)}.")


def _marks(ax: Axes, names: Sequence[str], races: Sequence, reading: str) -> None:
    marker, colour = READINGS[reading]
    for y, mine in enumerate([r for r in races if r.planted == name] for name in names):
        share = [sum(r.hit(reading) for r in mine) / len(mine)] if mine else []
        hollow = marker == "D"  # drawn above the other, so that both are seen where they meet
        look = {"mfc": "none" if hollow else colour, "zorder": 3 if hollow else 2}
        label = reading if ax.get_subplotspec().is_first_col() and not y else None
        ax.plot(share, [y] * len(share), marker, color=colour, ms=7, label=label, **look)
