"""Measuring in pictures: masks pixel by pixel, curves, a loss's weights, intervals, roulette."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from scipy import ndimage

from naslora_core.sam import load_sam
from naslora_core.sam.checkpoints import base_of
from naslora_core.sam.sam_nano import IMAGE_SIZE
from naslora_core.training.metrics import dice, iou
from naslora_workbook.figures import theme
from naslora_workbook.figures.masks import outline
from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.figures.widgets import explore
from naslora_workbook.results.labels import LABELS

UNITS = {"dice": "Dice", "iou": "IoU"}
BASES = ("base_unprompted", "base_boxed")
SIDES = ("neither", "missed", "too much", "shared")
COLOURS = ListedColormap(["#EEEEEE", theme.TRUTH, theme.PROMPT_OUT, theme.PREDICTION])


def pixels(truth, predictions: Mapping[str, np.ndarray], scores: Mapping[str, str]) -> Picture:
    """Small masks `H W` (bool) beside their truth: every pixel shared, missed or drawn too much.

    scores: a line under each picture, by the predictions' names.
    """
    judged = {name: truth + 2 * mask.astype(int) for name, mask in predictions.items()}
    figure, axes, _ = theme.image_row(judged, 2.35, cmap=COLOURS, vmin=0, vmax=3)
    for ax, name in zip(axes, judged, strict=True):
        for place in range(len(truth) + 1):
            ax.axhline(place - 0.5, color="white", lw=2)
            ax.axvline(place - 0.5, color="white", lw=2)
        ax.set_xlabel(scores[name])
    patches = [Patch(color=COLOURS(i), label=side) for i, side in enumerate(SIDES)]
    figure.legend(handles=patches, loc="outside lower left", ncols=4)
    near = sorted(predictions, key=lambda name: -iou(predictions[name], truth))
    title = f"The truth has {int(truth.sum())} of {truth.size} pixels: {near[0]} overlaps best"
    title += f", {near[-1]} worst" * (len(near) > 1)
    said = (f"{name}: {scores[name]}" for name in predictions)
    return titled(figure, title, f"{'; '.join(said)}.")


def watched(history: Sequence[Mapping[str, float]]) -> Picture:
    """Training `loss` of steps, and after some `val`, the loss of validation images."""
    trained = [e for e in history if "loss" in e]
    steps, loss = (np.array([e[k] for e in trained]) for k in ("step", "loss"))
    seen = {e["step"]: e["val"] for e in history if "val" in e}
    figure, ax = theme.chart(2.5)
    best = min(seen, key=seen.get)
    ax.plot(steps, loss, color=theme.BASE, lw=1, label="training batch")
    ax.plot(list(seen), list(seen.values()), "o-", ms=4, color=theme.PREDICTION, label="validation")
    ax.axvline(best, color=theme.INK, ls=":", lw=1)
    ax.set(xlabel="step", ylabel="loss", ylim=(0, None))
    ax.legend(loc="upper right", ncols=2)
    title = f"Validation loss is lowest after step {best} of {steps[-1]} ({seen[best]:.2f}); "
    title += f"training loss ends near {loss[-10:].mean():.2f}"
    return titled(figure, title, at=ax)


def dragged(truth: np.ndarray, shifts: Sequence[int]):
    """A mask `H W` dragged off its truth under a slider, with Dice and IoU for every shift.

    shifts: pixels to the right. Blue is shared, yellow missed, red drawn too much.
    """
    moved = {shift: ndimage.shift(truth, (0, shift), order=0) for shift in shifts}
    curves = {"Dice": [dice(m, truth) for m in moved.values()]}
    curves["IoU"] = [iou(m, truth) for m in moved.values()]

    def draw(axes, shift):
        at = list(shifts).index(shift)
        axes[0].imshow(truth + 2 * moved[shift].astype(int), cmap=COLOURS, vmin=0, vmax=3)
        theme.blank(axes[0])
        for (name, values), style in zip(curves.items(), ("-", "--"), strict=True):
            axes[1].plot(shifts, values, style, color=theme.INK, label=name)
            axes[1].plot(shift, values[at], "o", color=theme.PREDICTION)
        axes[1].set(xlabel="shift in pixels", ylabel="score", ylim=(-0.03, 1.03))
        axes[1].legend(loc="upper right")
        scores = ", ".join(f"{name} {values[at]:.2f}" for name, values in curves.items())
        return f"moved by {shift} pixels: {scores}"

    few = [shifts[len(shifts) // 8], shifts[len(shifts) // 3]]
    title = "Dice and IoU fall together, and Dice is never the lower"
    return explore(draw, list(shifts), "shift", title, axes=2, few=few, height=1.9)


def weighing(image, truth, weights: Mapping[str, np.ndarray]) -> Picture:
    """An image `H W 3` with its truth `H W`, and maps `H W` of a pixel's weight on one scale."""
    figure, axes = theme.canvas(1, 1 + len(weights), height=2.3)
    axes[0, 0].imshow(image)
    outline(axes[0, 0], truth, truth.shape)
    axes[0, 0].set_title("image and truth")
    top = max(w.max() for w in weights.values())
    for ax, (name, weight) in zip(axes[0, 1:], weights.items(), strict=True):
        shown = ax.imshow(weight, cmap=theme.SEQUENTIAL, vmin=0, vmax=top)
        outline(ax, truth, truth.shape, ["white"])
        ax.set_title(name)
    theme.blank(axes.flat)
    figure.colorbar(shown, ax=axes, label="weight")
    ends = "; ".join(f"{name} {_range(w)}" for name, w in weights.items())
    title = f"Weight of a pixel in the cross-entropy: {ends}"
    return titled(figure, title)


def _range(values) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return f"{low} everywhere" if low == high else f"{low} to {high}"


def paired_gains(
    gains: Mapping[tuple[str, str], np.ndarray],
    ends: Mapping[tuple[str, str], Sequence[float]],
    margin: float,
    note: str,
) -> Picture:
    """Paired differences by method and rival: a dot a seed, the ends of an interval as a bar.

    margin: a difference within it would not matter (grey); note: a line below.
    """
    figure, ax = theme.chart(2.75)
    places = range(len(gains))[::-1]
    ax.axvspan(-margin, margin, color="#EEEEEE", lw=0, zorder=-1)
    for y, (pair, values) in zip(places, gains.items(), strict=True):
        colour = theme.ADAPTER.get(pair[0], theme.BASE)
        theme.interval_bar(ax, y, *ends[pair], colour)
        ax.scatter(values, [y] * len(values), color=colour, s=30, zorder=3)
    ax.axvline(0, color=theme.INK, lw=1)
    ax.set(xlabel="difference of test Dice, same seed, same images", ylim=(-0.6, len(gains) - 0.4))
    ax.set_yticks(places, [_minus([pair]) for pair in gains])
    figure.supxlabel(note, x=0.006, ha="left")
    clear = [pair for pair, (low, high) in ends.items() if low > 0 or high < 0]
    tied = [pair for pair, (low, high) in ends.items() if -margin < low <= 0 <= high < margin]
    title = f"Intervals that exclude zero: {_minus(clear) or 'none'}"
    title += f"; a tie, inside ±{margin}: {_minus(tied)}" * bool(tied)
    theme.finding(figure, title)
    said = (f"{_minus([pair])} {low:+.3f} to {high:+.3f}" for pair, (low, high) in ends.items())
    return Picture(figure, f"{title}. {'; '.join(said)}. {note}")


def _minus(pairs: Sequence[tuple[str, str]]) -> str:
    """Methods and their rivals in words, each rival once."""
    of = {rival: [LABELS.get(a, a) for a, b in pairs if b == rival] for _, rival in pairs}
    return "; ".join(f"{', '.join(of[rival])} minus {LABELS.get(rival, rival)}" for rival in of)


def roulette(ax: Axes, spins: np.ndarray, whole: float, limit: float) -> str:
    """How the mean difference of a few drawn seeds scatters; red: the order of all is reversed.

    whole: the difference over all seeds; limit: the end of the axis.
    """
    turned = spins * whole < 0
    edges = np.linspace(-limit, limit, 41)
    ax.hist(spins[~turned], edges, color=theme.PREDICTION)
    ax.hist(spins[turned], edges, color=theme.PROMPT_OUT)
    ax.axvline(whole, color=theme.INK, ls="--", lw=1)
    ax.set(yticks=[], xlabel="difference of Dice", ylabel="share of the draws")
    ax.locator_params(axis="x", nbins=3)
    ax.spines["left"].set_visible(False)
    return f"{turned.mean():.0%} reversed"


def comparison(records: Sequence[dict], metric: str = "dice", title: str = "") -> Picture:
    """A dot a recorded run, seeds joined; the base, without a prompt and with boxes, as lines."""
    of = {(r["method"], r["seed"]): r["mean"][metric] for r in records}
    methods = [m for m in dict.fromkeys(m for m, _ in of) if m not in BASES]
    seeds = sorted({seed for method, seed in of if method in methods})
    table = np.array([[of.get((m, s), np.nan) for s in seeds] for m in methods])
    figure, ax = theme.chart(3.0)
    ax.plot(table, color=theme.BASE, lw=0.7, alpha=0.7)
    for x, (method, row) in enumerate(zip(methods, table, strict=True)):
        ax.plot([x] * len(seeds), row, "o", color=theme.ADAPTER.get(method, theme.BASE))
    for base in (base for base in BASES if (base, 0) in of):
        value, words = of[base, 0], LABELS[base]
        ax.axhline(value, color=theme.BASE, ls="--", lw=1)
        place, style = (len(methods) - 0.25, value), {"ha": "right", "color": theme.BASE}
        ax.annotate(f"{words} {value:.3f}", place, (0, 3), textcoords="offset points", **style)
    means = np.nanmean(table, 1)  # of four digits: differences of them round as the title's do
    labels = [f"{LABELS.get(m, m)}\nmean {v:.4f}" for m, v in zip(methods, means, strict=True)]
    ax.set_xticks(range(len(methods)), labels)
    split = records[-1]["setting"]["split"].replace("val", "validation")
    ax.margins(y=0.1)
    ax.set(ylabel=f"{split} {UNITS[metric]}", xlim=(-0.5, len(methods) - 0.2), ylim=(0, None))
    ax.set_xlabel(source(records), loc="left")
    commits = ", ".join(sorted({r["provenance"]["commit"] for r in records}))
    return titled(figure, title, f"{source(records)}, commit {commits}.", at=ax)


def source(records: Sequence[dict]) -> str:
    """Where records come from, as a line for figures and captions."""
    setting, seeds = records[-1]["setting"], {r["seed"] for r in records}
    devices = sorted({r["provenance"]["device"] for r in records})
    dates = sorted({r["provenance"]["date"] for r in records})
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    made_on = records[-1]["base"]
    base = made_on.split()[0]
    size = f" at {IMAGE_SIZE} px" * (base == "sam_nano")
    earlier = "an earlier " * (base == "sam_nano" and made_on != base_of(load_sam()))
    return (
        f"Recorded: {earlier}{base}{size}, {setting['steps']} steps of {setting['batch']} images, "
        f"{len(seeds)} seed{'s' * (len(seeds) > 1)} on {records[-1]['data']};\n"
        f"{', '.join(devices)}, {when}"
    )
