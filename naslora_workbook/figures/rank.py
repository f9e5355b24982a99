"""How many directions a change of weights has: its spectrum, its truncations, what they keep."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from naslora_workbook.figures import theme
from naslora_workbook.figures.picture import Picture, titled

KEPT, LOST = theme.ADAPTER["lora"], "#CCCCCC"
FEW, SHOWN, CORNER = 4, 32, 48  # directions in the title, bars, rows and columns of the inset


def spectrum(changes: Sequence[Tensor]) -> Picture:
    """Singular values of changes `d_out d_in`, beside random matrices of the same norms.

    Left: all of them, the strongest first. Right: the share of the squared norm that the first r
    directions hold.
    """
    random = [_random_like(c, seed) for seed, c in enumerate(changes)]
    figure, (left, right) = _two_axes(changes[0])
    kinds = (random, theme.BASE, "random, same norm"), (changes, KEPT, "learned")
    for which, colour, label in kinds:
        for i, change in enumerate(which):
            values = torch.linalg.svdvals(change)
            style = {"color": colour, "lw": 1.1, "label": None if i else label}
            left.plot(range(1, len(values) + 1), values.tolist(), **style)
            right.plot(range(1, len(values) + 1), _held(values).tolist(), **style)
    left.set_ylim(bottom=0)
    left.legend(loc="upper right")
    title = _finding(changes, random)
    return titled(figure, title, f"One line for each of {len(changes)} matrices.")


def _two_axes(change: Tensor):
    figure, axes = theme.canvas(1, 2, height=2.7)
    left, right = axes[0]
    left.set(xlabel="direction", ylabel="singular value")
    right.set(xlabel="rank r, first directions kept", ylabel="share of the squared norm")
    right.set(xscale="log", ylim=(0, 1.02), xlim=(1, min(change.shape)))
    ticks = [r for r in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if r <= min(change.shape)]
    right.set_xticks(ticks, ticks)
    right.minorticks_off()
    return figure, (left, right)


def _random_like(change: Tensor, seed: int) -> Tensor:
    """Independent normal entries, with the norm of `change`."""
    drawn = torch.randn(change.shape, generator=torch.Generator().manual_seed(seed))
    return drawn * change.norm().cpu() / drawn.norm()


def _held(values: Tensor) -> Tensor:
    """Share of the squared norm in the first 1, 2, ... singular values."""
    return values.square().cumsum(0) / values.square().sum()


def _finding(changes: Sequence[Tensor], random: Sequence[Tensor]) -> str:
    shares = [
        sum(float(_held(torch.linalg.svdvals(m))[FEW - 1]) for m in which) / len(which)
        for which in (changes, random)
    ]
    most = min(changes[0].shape)
    learned, noise = (f"{share:.0%}" for share in shares)
    return f"{FEW} of {most} directions hold {learned} of the change (random matrix: {noise})"


def cut(ax: Axes, change: Tensor, rank: int) -> str:
    """The first singular values of a change, those of the first `rank` directions coloured.

    The inset is a corner of the matrix that they make, on one scale for every rank.
    """
    u, values, v = torch.linalg.svd(change, full_matrices=False)
    shown = range(1, min(SHOWN, len(values)) + 1)
    colours = [KEPT if i <= rank else LOST for i in shown]
    ax.bar(shown, values[: len(shown)].tolist(), color=colours, width=1)
    ax.set(xlabel=f"direction (first {len(shown)})", ylabel="singular value")
    inset = ax.inset_axes((0.3, 0.42, 0.7, 0.55))
    theme.blank(inset)
    limit = 3 * float(change.std())
    kept = (u[:, :rank] * values[:rank]) @ v[:rank]
    corner = kept[:CORNER, :CORNER].cpu().numpy()
    inset.imshow(corner, cmap=theme.DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    return f"rank {rank}: {float(_held(values)[rank - 1]):.0%}"


def surviving(scores: Mapping[int, float], whole: float) -> Picture:
    """Dice over the rank at which a change was cut, with the uncut change as a line."""
    figure, ax = theme.chart(2.5)
    ax.axhline(whole, color=theme.BASE, ls="--", lw=1, label="nothing cut")
    places, label = range(len(scores)), "cut to rank r"
    ax.plot(places, list(scores.values()), "o-", color=KEPT, label=label)
    ax.set(xlabel="rank r of every change", ylabel="validation Dice")
    ax.set_xticks(places, list(scores))
    ax.set_ylim(0, 1.15 * max(whole, *scores.values()))
    ax.legend(loc="lower right")
    first, rank = (list(scores)[i] for i in (0, len(scores) // 2))
    title = (
        f"The change cut to rank {rank} gives Dice {scores[rank]:.2f} "
        f"(rank {first}: {scores[first]:.2f}, uncut: {whole:.2f})"
    )
    return titled(figure, title, at=ax)
