"""A search stage by stage: what moves on which images, how sure alpha becomes, who wins where."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.figures.theme import ADAPTER, BASE, INK, canvas, chart, rows

COLOURS = {"weights": BASE, "alpha": ADAPTER["nas_lora"]}
LANES = [(kind, half) for kind in COLOURS for half in "AB"]
NOISE = "#DDDDDD"
FREE, LEARNED = BASE, ADAPTER["nas_lora"]  # operators without numbers to learn, and with


def timeline(schedules: Sequence) -> Picture:
    """At every step of each schedule, what moves and on which half of the images."""
    wide = [3 if len(s.stages) > 1 else 2 for s in schedules]
    figure, (axes,) = canvas(1, len(schedules), 1.9, sharey=True, width_ratios=wide)
    for ax, schedule in zip(axes, schedules, strict=True):
        turns = list(enumerate(s.moves_at(i) for s in schedule.stages for i in range(s.steps)))
        for y, (kind, half) in enumerate(LANES):
            steps = [i + 0.5 for i, (ms, at) in turns if kind in ms and at in (None, half)]
            ax.bar(steps, 0.8, 1, y - 0.4, color=COLOURS[kind])
        _name_stages(ax, schedule)
        ax.set(xlabel=f"step of {schedule.name}", xlim=(0, schedule.steps), ylim=(3.5, -1.3))
    axes[0].set_yticks(range(len(LANES)), [f"{kind} on {half}" for kind, half in LANES])
    counts = ", ".join(f"{s.alpha_steps} of {s.steps} ({s.name})" for s in schedules)
    title = f"Steps that move alpha: {counts}"
    return titled(figure, title, "A and B are the halves of the training images.")


def _name_stages(ax: Axes, schedule) -> None:
    """The names above, and a line where one ends; the first of several is short of room."""
    start, several = 0, len(schedule.stages) > 1
    for stage in schedule.stages:
        name = f" {stage.name}" if several and not start else stage.name
        middle = start + stage.steps / 2 if start or not several else 0
        ax.text(middle, -0.6, name, ha="center" if middle else "left", va="bottom")
        start += stage.steps
        if start < schedule.steps:
            ax.plot((start, start), (-0.5, 3.5), color=INK, lw=1, ls=":")


def controls(ranks: Mapping[str, Sequence[tuple[float, float]]]) -> Picture:
    """Every search's rank among noise searches, by certainty and by steadiness, a row a kind.

    ranks: by kind of search (certainty, steadiness) of each, in percent of noise searches below it.
    """
    figure, (axes,) = canvas(1, 2, 0.42 * len(ranks) + 1.3, sharey=True)
    rng, above = np.random.default_rng(0), {}
    for k, (ax, measure) in enumerate(zip(axes, ("certainty", "steadiness"), strict=True)):
        ax.axvspan(95, 103, color=NOISE, lw=0)
        for y, (kind, values) in enumerate(ranks.items()):
            shares = np.array([pair[k] for pair in values])
            ax.plot(shares, y + rng.uniform(-0.22, 0.22, len(shares)), "o", color=COLOURS["alpha"])
            above[measure, kind] = int((shares > 95).sum())
        counts = ", ".join(str(above[measure, kind]) for kind in ranks)
        ax.set_title(f"{measure}: {counts} above 95 %")
        ax.set(xlabel="percentile among noise searches", xlim=(-2, 103))
    rows(axes[0], ranks)
    parts = [f"{kind} {above['steadiness', kind]} of {len(of)}" for kind, of in ranks.items()]
    title = f"Above 95 % of noise by steadiness: {', '.join(parts)}"
    told = "; ".join(f"{kind}, {measure}: {n}" for (measure, kind), n in above.items())
    return titled(figure, title, f"{told}.")


def winner_tiles(winners: Mapping[str, Sequence[tuple]], title: str) -> Picture:
    """A row a run, a column a block: the winner (operator, probability), the surer the darker."""
    figure, ax = chart(0.33 * len(winners) + 0.9)
    for y, row in enumerate(winners.values()):
        for x, (operator, p) in enumerate(row):
            colour = FREE if is_free(operator) else LEARNED
            place = (x - 0.47, y - 0.45), 0.94, 0.9
            ax.add_patch(Rectangle(*place, color=colour, alpha=0.08 + 0.72 * p, lw=0))
            words = operator.removeprefix("darts_").replace("_", " ").replace(" ", "\n", 1)
            ax.text(x, y, words.removesuffix(" 3x3") if "pool" in words else words,
                    ha="center", va="center", fontsize=7, linespacing=0.95)  # fmt: skip
    rows(ax, winners)
    blocks = len(next(iter(winners.values())))
    ax.set(xlim=(-0.5, blocks - 0.5), xticks=range(blocks))
    ax.set_xlabel("block (grey: operators without learned numbers)")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    each = (f"{n}: {', '.join(f'{o} {p:.2f}' for o, p in row)}" for n, row in winners.items())
    return titled(figure, title, "; ".join(each) + ".")


def is_free(operator: str) -> bool:
    """Whether an operator has no numbers to learn."""
    return operator in ("none", "skip") or "pool" in operator
