"""Place in an encoder: what reaches a token, what neighbours are worth, how far blocks attend."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.patches import Rectangle
from scipy import stats
from torch import Generator, Tensor, randn

from naslora_workbook.figures import theme
from naslora_workbook.figures.picture import Picture, html_table, titled
from naslora_workbook.figures.tokens import attention_weights, listening

LINES = (theme.INK, theme.BASE, theme.ADAPTER["fixed_conv"], theme.INK)
DASHES, MARKS = ("-", "--", "-", ":"), ("o", "s", "^", "v")
STYLES = (("-", "o", theme.BASE), ("--", "s", theme.INK))


def support(layer: Callable, x: Tensor, at: tuple[int, int]) -> Tensor:
    """Which tokens of x `B H W C` have a gradient on the layer's output token `at`: bool `H W`.

    Output channels are weighed by random numbers, or those of a LayerNorm would cancel; below a
    millionth of the largest gradient is rounding.
    """
    x = x.detach().clone().requires_grad_()
    y = layer(x)[:, at[0], at[1]]
    (y * randn(y.shape[-1], generator=Generator().manual_seed(0)).to(y)).sum().backward()
    size = x.grad.abs().sum((0, 3))
    return size > 1e-6 * size.max()


def supports(
    layers: Mapping[str, Callable], x: Tensor, at: tuple[int, int], window: int
) -> Picture:
    """The gradient support of one token under several layers, on the map with its windows."""
    seen = {name: support(layer, x, at) for name, layer in layers.items()}
    titles = (f"{name}:\n{int(reached.sum())} tokens" for name, reached in seen.items())
    maps = dict(zip(titles, seen.values(), strict=True))
    figure, axes, _ = theme.image_row(maps, 2.15, cmap="Greys", vmin=0, vmax=1.6)
    for ax in axes:
        for i in range(x.shape[1] + 1):
            colour = theme.INK if i % window == 0 else "#DDDDDD"
            for line in (ax.axhline, ax.axvline):
                line(i - 0.5, color=colour, lw=0.5, clip_on=False)
        place = (at[1] - 0.5, at[0] - 0.5)
        ax.add_patch(Rectangle(place, 1, 1, fc="none", ec=theme.PROMPT_OUT, lw=2))
    counts = ", ".join(f"{name} {int(reached.sum())}" for name, reached in seen.items())
    said = f"Tokens with a gradient on one token: {counts}."
    return titled(figure, "No layer inside windows uses a token beyond the border", said)


def drift(lines: Mapping[str, Sequence[float]], places: Sequence[int], across: Sequence[int]):
    """How far the features of a sliding object are from those in mid-window, a line an encoder.

    places: its token column at each step; across: the columns at which it lies in two windows.
    """
    figure, axes = theme.canvas(1, 2, height=2.7)
    for i, (name, values) in enumerate(lines.items()):
        ax = axes[0, i // 2]  # two encoders, two operators: each pair has its own scale
        style = {"color": LINES[i], "ls": DASHES[i], "marker": MARKS[i], "ms": 4}
        ax.plot(places, values, label=name, **style)
    for ax in axes[0]:
        ax.axvspan(min(across) - 0.5, max(across) + 0.5, color="#EEEEEE", zorder=-1, lw=0)
        top = ax.get_ylim()[1]
        ax.set(xlabel="first token column (grey: in two windows)", ylim=(-0.02 * top, 1.5 * top))
        ax.set_xticks(places[::2])
        ax.legend(loc="upper left", handlelength=3)
    axes[0, 0].set(ylabel="relative change", title="encoders")
    axes[0, 1].set_title("operators (another scale)")
    over = np.isin(places, across)
    ends = {n: (max(np.array(v)[over]), max(np.array(v)[~over])) for n, v in lines.items()}
    found = "{:.2f} across the border, at most {:.2f} within a window"
    first = found.format(*ends[next(iter(ends))])
    said = "; ".join(f"{name}: {found.format(*end)}" for name, end in ends.items())
    return titled(figure, f"Features of the trained encoder change by {first}", f"{said}.")


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % t-interval over independent runs."""
    values = np.asarray(values, float)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def gains(runs: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]) -> Picture:
    """Paired gains over a baseline, by number of images: one plot an encoder, a line a probe.

    runs: encoder -> probe -> images -> one gain a seed; with their 95 % intervals.
    """
    figure, axes = theme.canvas(1, len(runs), height=2.9, sharey=True)
    said = []
    for ax, (encoder, probes) in zip(axes[0], runs.items(), strict=True):
        for i, (probe, counts) in enumerate(probes.items()):
            found = np.array([interval(values) for values in counts.values()])
            at = np.arange(len(counts)) + 0.08 * (i - 1)
            bars = (found[:, 0] - found[:, 1], found[:, 2] - found[:, 0])
            colour = (theme.ADAPTER["fixed_conv"], theme.INK, theme.BASE)[i % 3]
            ax.errorbar(at, found[:, 0], bars, marker=MARKS[i], color=colour, label=probe, ms=5)
            said.append(f"{encoder}, {probe}: " + ", ".join(f"{m:+.3f}" for m in found[:, 0]))
        ax.axhline(0, color=theme.INK, lw=1)
        ax.set_xticks(range(len(counts)), list(counts))
        ax.set(xlabel="training images", title=encoder)
    axes[0, 0].set_ylabel("AUC minus the linear probe's")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower left", ncols=3, handlelength=1.5)
    name, probes = next(iter(runs.items()))
    ends = {probe: interval(by[max(by)])[0] for probe, by in probes.items()}
    best = max(ends, key=ends.get)
    title = f"{name.capitalize()} encoder, {max(counts)} images: {best} gains most, "
    title += f"{ends[best]:+.3f} AUC over a linear probe"
    return titled(figure, title, "Gains over a linear probe. " + "; ".join(said) + ".")


class Verdicts(dict):
    """Hypothesis -> (what was measured, verdict); displays as a table."""

    def measured(self, claim: str, found: tuple[float, float, float], margin: float = 0) -> None:
        """A hypothesis that a number is above `margin`, decided by its mean and interval."""
        _, low, high = found
        said = "stands" if low > margin else "refuted" if high < margin else "undecided"
        self[claim] = ("{:+.3f} ({:+.3f} to {:+.3f})".format(*found), said)

    def _repr_html_(self) -> str:
        rows = ((claim, *found) for claim, found in self.items())
        return html_table(rows, ("hypothesis", "measured", "verdict"))


@torch.no_grad()
def attention_distance(encoder, pixels: Tensor) -> list[float]:
    """Mean distance in tokens from a token to those that it attends to, a number a block.

    pixels: preprocessed images `B 3 S S`. Mean over heads, tokens and images. In a windowed block
    no distance can exceed the window.
    """
    inputs: list[Tensor] = []
    modules = [block.attn for block in encoder.blocks]
    with listening(modules, lambda _, x, y: inputs.append(x[0])):
        encoder(pixels)
    found = []
    for attn, windows in zip(modules, inputs, strict=True):
        place = torch.cartesian_prod(*(torch.arange(float(n)) for n in windows.shape[1:3]))
        far = torch.cdist(place, place).to(windows)  # hw hw
        means = [(attention_weights(attn, w[None]) * far).sum(-1).mean() for w in windows]
        found.append(float(torch.stack(means).mean()))
    return found


def distances(lines: Mapping[str, Sequence[float]], windowed: Sequence[bool]) -> Picture:
    """Attention distance over the blocks, a line a model; windowed: which blocks have windows."""
    figure, ax = theme.chart(2.7)
    for (name, values), (line, mark, colour) in zip(lines.items(), STYLES, strict=False):
        ax.plot(range(len(values)), values, line, marker=mark, color=colour, label=name)
    labels = [f"{i}\n{'window' if w else 'global'}" for i, w in enumerate(windowed)]
    ax.set_xticks(range(len(labels)), labels)
    ax.set(xlabel="block", ylabel="distance in tokens", ylim=(0, None))
    figure.legend(loc="outside lower left", ncols=2)
    ax.axhline(0, color=theme.INK, lw=0.5)
    before, after = list(lines.values())[:2]
    most = max(abs(b - a) for a, b in zip(before, after, strict=True))
    title = f"Adaptation changes the attention distance of a block by at most {most:.2f} tokens"
    said = "; ".join(f"{n}: {', '.join(f'{v:.1f}' for v in of)}" for n, of in lines.items())
    return titled(figure, title, f"By block, {said}.")
