"""A search stage by stage: what moves on which images, how sure alpha becomes, who wins where."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import ADAPTER, BASE, INK, PREDICTION, canvas, finding

COLOURS = {"weights": BASE, "alpha": ADAPTER["nas_lora"]}
LANES = [(kind, half) for kind in COLOURS for half in "AB"]
NOISE = "#DDDDDD"
FREE, LEARNED = PREDICTION, ADAPTER["lora"]  # operators without numbers to learn, and with


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
    finding(figure, title)
    return Picture(figure, f"{title}. A and B are the halves of the training images.")


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


def heard(
    entropy: np.ndarray,
    steadiness: Sequence[float],
    deaf_entropy: np.ndarray,
    deaf_steadiness: Sequence[float],
    steady: Sequence[float],
) -> Picture:
    """A search beside searches that hear noise (grey: nine in ten of them).

    entropy `T n` and steadiness `n` of n alphas over the T steps that moved them; deaf_...: the
    same of many deaf searches `T m`, `m`; steady `T`: the entropy under an unchanging gradient.
    """
    figure, ((left, right),) = canvas(1, 2, 2.7)
    steps, (low, high) = range(1, len(entropy) + 1), np.quantile(deaf_entropy, (0.05, 0.95), 1)
    left.fill_between(steps, 1 - low, 1 - high, color=NOISE, lw=0, label="hears noise")
    left.plot(steps, 1 - entropy[:, 0], color=COLOURS["alpha"], label="a block")
    left.plot(steps, 1 - entropy[:, 1:], color=COLOURS["alpha"])
    left.plot(steps, 1 - np.array(steady), color=INK, ls=":", label="one operator rises")
    left.set(xlabel="steps that moved alpha", ylabel="certainty: 1 - entropy", yscale="log")
    left.set_ylim(bottom=left.get_ylim()[0] / 20)  # room for the legend
    left.legend(loc="lower right")
    right.axvspan(*np.quantile(deaf_steadiness, (0.05, 0.95)), color=NOISE, lw=0)
    right.plot(steadiness, range(len(steadiness)), "o", color=COLOURS["alpha"])
    right.axvline(1, color=INK, ls=":")
    right.set(xlabel="steadiness: way made / way walked", xlim=(0, 1.04), ylabel="block")
    right.set(yticks=range(len(steadiness)), ylim=(len(steadiness) - 0.5, -0.5))
    count = int((entropy[-1] < low[-1]).sum())
    title = f"{count} of {entropy.shape[1]} blocks end surer than 19 in 20 searches that hear noise"
    finding(figure, title)
    ends = f"{entropy[-1].min():.2f} to {entropy[-1].max():.2f}"
    return Picture(figure, f"{title}. Entropy {ends}, noise {low[-1]:.2f} to {high[-1]:.2f}.")


def rivals(dice: Mapping[str, np.ndarray], winners: Mapping[str, Sequence[tuple]]) -> Picture:
    """Left: Dice of every validation image and their mean, a row a run. Right: `who_won`."""
    figure, ((left, right),) = canvas(1, 2, 2.9, width_ratios=(2, 3))
    for y, scores in enumerate(dice.values()):
        left.scatter(scores, [y] * len(scores), s=14, color=BASE, alpha=0.4, lw=0)
        left.plot(scores.mean(), y, "D", color=INK)
    left.set(xlabel="Dice of validation images, and mean", xlim=(-0.03, 1.03))
    left.set(ylim=(len(dice) - 0.5, -0.5))
    left.set_yticks(range(len(dice)), list(dice))
    agree = who_won(right, {name: winners.get(name) for name in dice})
    right.set_yticks([])
    means = {name: scores.mean() for name, scores in dice.items()}
    best, last = max(means, key=means.get), min(means, key=means.get)
    title = f"Mean Dice {means[last]:.2f} ({last}) to {means[best]:.2f} ({best}); "
    title += f"all searches name one winner in {agree}"
    finding(figure, title)
    return Picture(figure, f"{title}. {_told(winners)}")


def verdicts(winners: Mapping[str, Sequence[tuple]], by_chance: float) -> Picture:
    """`who_won` in full width; the title counts winners that have nothing to learn.

    by_chance: how many these would be if every operator were as likely.
    """
    figure, ((ax,),) = canvas(height=0.5 * len(winners) + 0.9)
    who_won(ax, winners)
    each = [operator for row in winners.values() for operator, _ in row]
    skips, free = each.count("skip"), sum(map(is_free, each))
    title = f"Nothing to learn: {free} of {len(each)} winners (by chance {by_chance:.0f})"
    title += f", {skips} skips"
    finding(figure, title)
    return Picture(figure, f"{title}. {_told(winners)}")


def who_won(ax: Axes, winners: Mapping[str, Sequence[tuple] | None]) -> str:
    """A row a run, a column a block: the winner (operator, probability), the surer the darker.

    None leaves a row empty. Returns in how many blocks all runs have the same winner.
    """
    for y, row in enumerate(winners.values()):
        for x, (operator, p) in enumerate(row or ()):
            colour = FREE if is_free(operator) else LEARNED
            place = (x - 0.47, y - 0.45), 0.94, 0.9
            ax.add_patch(Rectangle(*place, color=colour, alpha=0.08 + 0.72 * p, lw=0))
            words = operator.removeprefix("darts_").replace("_", " ").replace(" ", "\n", 1)
            ax.text(x, y, words.removesuffix(" 3x3") if "pool" in words else words,
                    ha="center", va="center", fontsize=7, linespacing=0.95)  # fmt: skip
    rows = [row for row in winners.values() if row]
    ax.set(xlim=(-0.5, len(rows[0]) - 0.5), ylim=(len(winners) - 0.5, -0.5))
    ax.set(xlabel="block; orange learns, blue has nothing to learn", xticks=range(len(rows[0])))
    ax.set_yticks(range(len(winners)), list(winners))
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    same = sum(len({o for o, _ in block}) == 1 for block in zip(*rows, strict=True))
    return f"{same} of {len(rows[0])} blocks"


def is_free(operator: str) -> bool:
    """Whether an operator has no numbers to learn."""
    return operator in ("none", "skip") or "pool" in operator


def _told(winners: Mapping[str, Sequence[tuple]]) -> str:
    rows = (f"{n}: {', '.join(f'{o} {p:.2f}' for o, p in row)}" for n, row in winners.items())
    return "; ".join(rows) + "."
