"""What a search chose and did: residuals, importance of operators, frequency responses, a probe."""

from collections.abc import Mapping, Sequence

import numpy as np

from naslora_workbook.figures import theme
from naslora_workbook.figures.picture import Picture, titled

COLOURS = (theme.BASE, theme.ADAPTER["lora"], theme.ADAPTER["nas_lora"], theme.ADAPTER["conv_lora"])
READINGS = (theme.BASE, theme.INK, theme.ADAPTER["nas_lora"])  # as in `shipping`
MARKS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")


def unexplained(blocks: Mapping[str, tuple]) -> Picture:
    """What a map of single tokens, the projection and argmax's class leave of every cell, in %.

    blocks: by name (argmax, a reading with `projection` and `residual`).
    """
    figure, ax = theme.chart(0.9 + 0.35 * len(blocks))
    rows = {
        "map of single tokens (off-centre share)": lambda a, r: r.residual["conv_1x1"],
        "class that projection names": lambda a, r: r.residual.get(r.projection, 1),
        "class that argmax names": lambda a, r: r.residual[a],
    }
    for k, ((label, left), mark) in enumerate(zip(rows.items(), "osD", strict=True)):
        shares = [100 * left(*block) for block in blocks.values()]
        style = {"color": READINGS[k], "ls": "", "ms": 7, "label": label}
        at = np.arange(len(blocks)) + 0.15 * (k - 1)  # side by side, so that none covers another
        ax.plot(np.maximum(shares, 1e-3), at, mark, **style)
    ax.axvline(1, color=theme.INK, ls=":", lw=1)
    ax.set(xscale="log", xlabel="share of the cell's energy left unexplained, % (dots: tolerance)")
    theme.rows(ax, blocks)
    figure.legend(loc="outside lower left", ncols=1, handlelength=1)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    shares = [100 * r.residual["conv_1x1"] for _, r in blocks.values()]
    ends = f"{min(shares):.1f} to {max(shares):.1f} %"
    return titled(figure, f"A map of single tokens leaves {ends} of a cell's energy unexplained")


def worth(
    operators: Sequence[str],
    measures: Mapping[str, np.ndarray],
    importance: np.ndarray,
    correlation: Mapping[str, float],
    chance: float,
) -> Picture:
    """Importance `blocks operators` over other measures of the same shape, one plot each.

    correlation: of ranks within blocks, by measure; chance: how far from 0 95 % of shuffles stay.
    """
    figure, (axes,) = theme.canvas(1, len(measures), 3.1, sharey=True)
    for ax, (name, values) in zip(axes, measures.items(), strict=True):
        ax.axhline(0, color=theme.BASE, lw=1)
        for i, (operator, colour) in enumerate(theme.operator_colours(operators).items()):
            style = {"color": colour, "marker": MARKS[i % len(MARKS)], "ls": "", "ms": 6}
            ax.plot(values[:, i], importance[:, i], label=operator, **style)
        ax.set(xlabel=name, title=f"rank correlation {correlation[name]:+.2f}")
    axes[0].set_ylabel("importance: rise of the loss without it")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", handlelength=1)
    title = "Rank correlation with importance: " + ", ".join(
        f"{name} {'better than' if r > chance else 'worse than' if r < -chance else 'like'} chance"
        for name, r in correlation.items()
    )
    said = ", ".join(f"{name} {r:+.2f}" for name, r in correlation.items())
    return titled(figure, title, f"Rank correlations: {said}; 95 % of shuffles: {chance:.2f}.")


def responses(waves: Sequence[float], passed: Mapping[str, Sequence]) -> Picture:
    """How strongly paths pass waves of the map.

    waves: per token; passed: name -> strength at each of them, 1 at the longest.
    """
    figure, ax = theme.chart(2.5)
    first, *rest = passed.items()
    ax.plot(waves, first[1], color=theme.INK, label=first[0], ls=":")
    for k, (name, values) in enumerate(rest):
        style = {"color": str(0.7 * k / len(rest)), "marker": MARKS[k % 9], "markevery": 4}
        ax.plot(waves, values, label=name, **style)
    ax.set(xlabel="waves a token", ylabel="strength, 1 for flat maps", ylim=(0, None))
    figure.legend(loc="outside right center", handlelength=1)
    ends = {name: float(values[-1] / values[0]) for name, values in passed.items()}
    told = ", ".join(f"{name} {end:.2f}" for name, end in ends.items())
    values = list(ends.values())[1:] or [1.0]
    title = f"Cells pass the shortest waves {min(values):.2f} to {max(values):.2f} times"
    return titled(figure, f"{title} as strongly as flat maps", f"{told}.")


def probed(
    scores: Mapping[str, Sequence], gains: Mapping[str, Sequence], unit: str, runs: str
) -> Picture:
    """Means with 95 % intervals (mean, low, high): of each model, and of paired differences.

    runs: how many, for the title."""
    figure, (axes,) = theme.canvas(1, 2, 0.8 + 0.3 * max(len(scores), len(gains)))
    for ax, rows in zip(axes, (scores, gains), strict=True):
        for y, (mean, low, high) in enumerate(rows.values()):
            colour = COLOURS[y % len(COLOURS)] if rows is scores else theme.INK
            theme.interval_bar(ax, y, low, high, colour)
            ax.plot(mean, y, MARKS[y], color=colour, ms=7)
        theme.rows(ax, rows)
    axes[0].set(xlabel=unit, xlim=(min(0, axes[0].get_xlim()[0]), None))
    axes[1].set_xlabel("difference, paired by image")
    axes[1].axvline(0, color=theme.BASE, lw=1)
    said = "; ".join(f"{name}: {verdict(*found[1:])}" for name, found in gains.items())
    title = f"{said} ({runs})"
    both = (scores | gains).items()
    each = ", ".join(f"{n} {m:.3f} ({lo:.3f} to {hi:.3f})" for n, (m, lo, hi) in both)
    return titled(figure, title, f"{each}.")


def verdict(low: float, high: float) -> str:
    """What an interval of a difference allows to say."""
    return "higher" if low > 0 else "lower" if high < 0 else "cannot tell"
