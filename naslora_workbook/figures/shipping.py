"""What of an adapter is left after folding: errors at borders, the clock, two readings, masks."""

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
from matplotlib.lines import Line2D

from naslora_core.training.metrics import iou
from naslora_workbook.figures import theme
from naslora_workbook.figures.masks import overlay
from naslora_workbook.figures.picture import Picture, titled

SAME = 1e-4  # a relative error below this is rounding
READINGS = {"projection": theme.INK, "argmax": theme.ADAPTER["nas_lora"]}  # as in `race`
TOLERANCE = 0.01  # share of a path's energy that a reading may lose
LEAST = 1e-4  # where the axis of unexplained energy begins


def borders(errors: Mapping[str, np.ndarray]) -> Picture:
    """Relative errors `H W` of folds at every token, on one scale."""
    wrong = {name: float((np.asarray(e) > SAME).mean()) for name, e in errors.items()}
    scale = {"cmap": theme.SEQUENTIAL, "vmin": 0, "vmax": max(np.max(e) for e in errors.values())}
    figure, axes, shown = theme.image_row(errors, 2.45, **scale)
    for ax, share in zip(axes, wrong.values(), strict=True):
        ax.set_xlabel(f"{share:.0%} of tokens wrong")
    figure.colorbar(shown, ax=axes, label="error / largest value")
    exact = [name for name, share in wrong.items() if not share]
    title = f"Exact at every token, of {len(errors)} folds: {', '.join(exact) or 'none'}"
    said = "; ".join(f"{name} wrong at {share:.0%} of tokens" for name, share in wrong.items())
    return titled(figure, title, f"{said}.")


def clock(groups: Mapping[str, Mapping[str, Sequence[float]]]) -> Picture:
    """Time of inference over a vanilla encoder's: group -> name -> (median, lowest, highest).

    The first of a group is its control, the vanilla modules again: what a single turn cannot
    resolve. Named are the others whose median lies outside of the control's range.
    """
    rows = {f"{n}, {g}": (g, *of) for g, named in groups.items() for n, of in named.items()}
    figure, ax = theme.chart(0.9 + 0.26 * len(rows))
    palette = (theme.PREDICTION, theme.BASE, *theme.ADAPTER.values())
    colours = dict(zip(groups, palette, strict=False))
    ax.axvline(1, color=theme.INK, lw=1)
    for y, (group, middle, low, high) in enumerate(rows.values()):
        theme.interval_bar(ax, y, low, high, colours[group])
        ax.plot(middle, y, "o", color=colours[group], ms=5)
    theme.rows(ax, rows)
    ax.set(xlabel="inference / vanilla in the same turn (median; lowest to highest)", xscale="log")
    ends = [value for *_, low, high in rows.values() for value in (low, high)]
    ticks = [t for t in (0.25, 0.5, 0.7, 1, 1.4, 2, 4) if min(ends) / 1.2 < t < max(ends) * 1.2]
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    clear = [f"{n}, {g}" for g, of in groups.items() for n in _outside(of)]
    controls = " and ".join(sorted({next(iter(of)) for of in groups.values()}))
    title = f"Medians outside of the {controls} range: {'; '.join(clear) or 'none'}"
    said = "; ".join(f"{n}: {m:.2f} ({lo:.2f} to {hi:.2f})" for n, (_, m, lo, hi) in rows.items())
    return titled(figure, title, f"{said}.", at=ax)


def _outside(named: Mapping[str, Sequence[float]]) -> list[str]:
    _, low, high = next(iter(named.values()))
    return [name for name, (middle, *_) in named.items() if not low <= middle <= high]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lowest, highest."""
    return median(values), min(values), max(values)


def discretised(
    named: Mapping[str, Mapping[str, tuple[str, float]]], dice: Mapping[str, float]
) -> Picture:
    """Two readings of every block: reading -> block -> (operator, share left unexplained).

    dice: of the mixture as it stands and of each reading.
    """
    blocks = list(next(iter(named.values())))
    ratios = {"width_ratios": (2.1, 1)}
    figure, axes = theme.canvas(1, 2, height=0.9 + 0.36 * len(blocks), gridspec_kw=ratios)
    left, right = axes[0]
    for step, (reading, chosen) in enumerate(named.items()):
        for y, (operator, residual) in enumerate(chosen.values()):
            place, shown = y + 0.36 * (step - 0.5), max(residual, LEAST)
            left.barh(place, shown - LEAST, 0.3, LEAST, color=READINGS[reading])
            left.text(1.6, place, operator, va="center", fontsize=8)
    left.axvline(TOLERANCE, color=theme.INK, ls=":", lw=1)
    left.set(xscale="log", xlim=(LEAST, 60))
    left.set_xlabel("share of the path's energy that is lost (dotted: 1 %)", loc="left")
    theme.rows(left, blocks)
    left.set_xticks([1e-4, 1e-3, 1e-2, 1e-1, 1], ["≤.0001", ".001", ".01", ".1", "1"])
    left.minorticks_off()
    lines = [Line2D([], [], color=c, lw=7, label=r) for r, c in READINGS.items()]
    colours = [READINGS.get(name, theme.BASE) for name in dice]
    bars = right.bar(range(len(dice)), list(dice.values()), color=colours)
    right.bar_label(bars, fmt="%.3f", fontsize=8)
    right.set_xticks(range(len(dice)), dice, fontsize=8)
    right.set(ylabel="test Dice", ylim=(0, 1))
    figure.legend(handles=lines, loc="outside lower left", ncols=2)
    lost = (f"{r} {sum(v > TOLERANCE for _, v in c.values())}" for r, c in named.items())
    title = f"Blocks (of {len(blocks)}) that lose more than {TOLERANCE:.0%}: {', '.join(lost)}"
    said = ", ".join(f"{n} {v:.3f}" for n, v in dice.items())
    return titled(figure, title, f"Dice: {said}.")


def unprompted(image, truth, found: Mapping[str, Sequence[Mapping]]) -> Picture:
    """Automatic masks on one image `H W 3`, the truth `H W` outlined: name -> generator's records.

    Each mask has a colour; the numbers are of the mask nearest to the truth: its IoU, and SAM's
    guess of it.
    """
    figure, axes = theme.grid(len(found), max(3, len(found)), 2.75)
    told = []
    for ax, (name, records) in zip(axes[0], found.items(), strict=False):
        labels, there = np.zeros(np.shape(truth), int), np.asarray(truth) > 0
        for i, r in enumerate(sorted(records, key=lambda r: -r["area"])):
            labels[r["segmentation"]] = i + 1
        overlay(ax, image, labels, there)
        ax.set_title(f"{name}: {len(records)} mask" + "s" * (len(records) != 1))
        best = max(records, key=lambda r: iou(r["segmentation"], there), default=None)
        told.append(f"{name} none")
        if best is not None:
            real = iou(best["segmentation"], there)
            ax.set_xlabel(f"best IoU {real:.2f}, predicted {best['predicted_iou']:.2f}")
            told[-1] = f"{name} {real:.2f}"
    title = f"IoU of the best mask on this image: {', '.join(told)}"
    return titled(figure, title, "Each mask has a colour, the truth is outlined.")
