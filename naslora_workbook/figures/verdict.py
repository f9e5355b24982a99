"""What a search chose and did: kinship of genotypes, worth of operators, what a cell hears."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from naslora_workbook.figures.masks import overlay
from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import (
    ADAPTER,
    BASE,
    INK,
    SEQUENTIAL,
    blank,
    canvas,
    finding,
    operator_colours,
)

COLOURS = (BASE, ADAPTER["lora"], ADAPTER["nas_lora"], ADAPTER["conv_lora"])
MARKS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")


def kinship(pairs: Mapping[str, Sequence[tuple[float, float]]]) -> Picture:
    """How far apart pairs of searches are, by what they share.

    pairs: what is shared -> of each pair the distance of its softmaxes, and the share of blocks
    whose projections differ.
    """
    figure, (axes,) = canvas(1, 2, 0.9 + 0.32 * len(pairs), sharey=True)
    labels = "distance of the softmaxes (0: the same)", "share of blocks, other projection"
    for i, (ax, label) in enumerate(zip(axes, labels, strict=True)):
        for y, found in enumerate(pairs.values()):
            values = [pair[i] for pair in found]
            ax.plot(values, [y] * len(values), "o", color=COLOURS[2], ms=7, alpha=0.6)
            ax.plot(np.mean(values), y, "|", color=INK, ms=16, mew=2)
        ax.set(xlabel=label, ylim=(len(pairs) - 0.5, -0.5))
        ax.set_xlim(-0.03 * ax.get_xlim()[1], 1.05 * ax.get_xlim()[1])
    axes[1].set_xlim(-0.05, 1.05)
    axes[0].set_yticks(range(len(pairs)), pairs)
    means = {shared: np.mean([d for d, _ in found]) for shared, found in pairs.items()}
    title = "Mean distance of two searches: " + ", ".join(
        f"{shared} {mean:.2f}" for shared, mean in means.items()
    )
    finding(figure, title)
    each = "; ".join(f"{k}: " + ", ".join(f"{d:.2f}" for d, _ in v) for k, v in pairs.items())
    return Picture(figure, f"{title}. {each}.")


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
    figure, (axes,) = canvas(1, len(measures), 3.1, sharey=True)
    for ax, (name, values) in zip(axes, measures.items(), strict=True):
        ax.axhline(0, color=BASE, lw=1)
        for i, (operator, colour) in enumerate(operator_colours(operators).items()):
            style = {"color": colour, "marker": MARKS[i % len(MARKS)], "ls": "", "ms": 6}
            ax.plot(values[:, i], importance[:, i], label=operator, **style)
        ax.set(xlabel=name, title=f"rank correlation {correlation[name]:+.2f}")
    axes[0].set_ylabel("rise of the loss without it")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", handlelength=1)
    title = "Guides to importance: " + ", ".join(
        f"{name} {'better than' if r > chance else 'worse than' if r < -chance else 'like'} chance"
        for name, r in correlation.items()
    )
    finding(figure, title)
    said = ", ".join(f"{name} {r:+.2f}" for name, r in correlation.items())
    return Picture(figure, f"{title}. Rank correlations: {said}; 95 % of shuffles: {chance:.2f}.")


def listening(
    sample, maps: Mapping[str, np.ndarray], waves: Sequence[float], passed: Mapping[str, Sequence]
) -> Picture:
    """A sample, maps `h w` of what a path adds on one scale, and how strongly it passes waves.

    waves: per token; passed: name -> strength at each of them, 1 at the longest.
    """
    figure, (axes,) = canvas(1, 2 + len(maps), 2.0, width_ratios=[1] * (1 + len(maps)) + [1.5])
    overlay(axes[0], sample.image, truth=sample.mask)
    axes[0].set_title("image")
    top = max(float(np.max(m)) for m in maps.values())
    for ax, (name, strength) in zip(axes[1:], maps.items(), strict=False):
        ax.imshow(strength, cmap=SEQUENTIAL, vmin=0, vmax=top)
        ax.set_title(name)
        blank(ax)
    ends = _waves(axes[-1], waves, passed)
    first, second = (float(np.square(m).sum()) for m in maps.values())
    share = second / (first + second)
    last = list(ends)[-1]
    title = f"Neighbours bring {share:.0%} here; {last} passes short waves {ends[last]:.2f} times"
    finding(figure, f"{title} as strongly as long ones")
    said = ", ".join(f"{name} {end:.2f}" for name, end in ends.items())
    return Picture(figure, f"{title} as strongly as long ones. Shortest over longest: {said}.")


def _waves(ax: Axes, waves: Sequence[float], passed: Mapping[str, Sequence]) -> dict[str, float]:
    """Draw the responses; of each the last over the first."""
    colours = (INK, *operator_colours(range(9)).values())
    for (name, values), colour in zip(passed.items(), colours, strict=False):
        flat = {"ls": ":"} if colour == INK else {}
        ax.plot(waves, values, color=colour, label=name, **flat)
    ax.set(xlabel="waves a token", title="strength, 1 at 0", ylim=(0, None))
    ax.legend(handlelength=1, borderpad=0, labelspacing=0.2, loc="lower left")
    return {name: float(values[-1] / values[0]) for name, values in passed.items()}


def probed(scores: Mapping[str, Sequence], gains: Mapping[str, Sequence], unit: str) -> Picture:
    """Means with 95 % intervals (mean, low, high): of each model, and of paired differences."""
    figure, (axes,) = canvas(1, 2, 0.8 + 0.3 * max(len(scores), len(gains)))
    for ax, rows in zip(axes, (scores, gains), strict=True):
        for y, (mean, low, high) in enumerate(rows.values()):
            colour = COLOURS[y % len(COLOURS)] if rows is scores else INK
            ax.plot((low, high), (y, y), color=colour, lw=2)
            ax.plot(mean, y, MARKS[y], color=colour, ms=7)
        ax.set(yticks=range(len(rows)), yticklabels=rows, ylim=(len(rows) - 0.5, -0.5))
    axes[0].set_xlabel(unit)
    axes[1].set_xlabel("difference, paired by image")
    axes[1].axvline(0, color=BASE, lw=1)
    said = [f"{name}: {verdict(*found)}" for name, found in gains.items()]
    title = "; ".join(said)
    finding(figure, title)
    both = (scores | gains).items()
    each = ", ".join(f"{n} {m:.3f} ({lo:.3f} to {hi:.3f})" for n, (m, lo, hi) in both)
    return Picture(figure, f"{title}. {each}.")


def verdict(mean: float, low: float, high: float) -> str:
    """What an interval of a difference allows to say."""
    return "better" if low > 0 else "worse" if high < 0 else "cannot say"
