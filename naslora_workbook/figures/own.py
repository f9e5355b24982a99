"""Images of one's own: how a run went, what is wrong with its masks, what ill runs look like."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from naslora_workbook.figures import theme
from naslora_workbook.figures.curves import TIE, loss_line
from naslora_workbook.figures.masks import overlay
from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.results.labels import LABELS

WINDOW = 5  # steps that one point of a smoothed loss stands for
KINDS = ("missed", "drawn on background", "another class")
WRONG = ListedColormap(["#F4F4F4", "#C9CED6", theme.TRUTH, theme.PROMPT_OUT, "#332288"])


def learning(histories: Mapping[str, Sequence[dict]]) -> Picture:
    """Runs that were watched: the training loss, and the validation Dice of every look."""
    figure, axes = theme.canvas(1, 2, height=2.9)
    left, right = axes[0]
    best = {}
    for method, history in histories.items():
        name, colour = LABELS.get(method, method), theme.ADAPTER.get(method, theme.INK)
        loss_line(left, history, colour, name)
        seen = {e["step"]: e["val_dice"] for e in history if "val_dice" in e}
        right.plot(list(seen), list(seen.values()), "o-", ms=4, color=colour)
        best[name] = max(seen.values())
    left.set(xlabel="step", ylabel="training loss", ylim=(0, None))
    right.margins(y=0.1)
    right.set(xlabel="step", ylabel="validation Dice", ylim=(0, None), xlim=left.get_xlim())
    figure.legend(loc="outside lower left", ncols=4)
    title = "Best validation Dice: " + ", ".join(f"{n} {v:.2f}" for n, v in best.items())
    highest = sorted(best.values())[-2:]
    if len(highest) == 2 and highest[0] > highest[1] - TIE:
        title += f" (the best two differ by less than {TIE})"
    return titled(figure, title)


def wrong_pixels(truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Every pixel of two label maps `H W` judged: 0 background and 1 object, both right; 2 missed,
    3 drawn on background, 4 drawn as another class."""
    kinds = np.where(truth > 0, 1, 0)
    kinds[(truth > 0) & (mask == 0)] = 2
    kinds[(truth == 0) & (mask > 0)] = 3
    kinds[(truth > 0) & (mask > 0) & (truth != mask)] = 4
    return kinds


def blame(samples: Sequence, masks: Sequence, scores: Sequence[float]) -> Picture:
    """Masks on their images, the truth outlined; below, every wrong pixel by its kind."""
    tile = theme.WIDTH / len(samples)
    ratio = max(s.mask.shape[0] / s.mask.shape[1] for s in samples)
    figure, axes = theme.canvas(2, len(samples), height=2 * tile * ratio + 0.75)
    counts = np.zeros(5)
    for i, (sample, mask) in enumerate(zip(samples, masks, strict=True)):
        overlay(axes[0, i], sample.image, mask, sample.mask).set_title(f"Dice {scores[i]:.2f}")
        kinds = wrong_pixels(sample.mask, mask)
        axes[1, i].imshow(kinds, cmap=WRONG, vmin=0, vmax=4)
        theme.blank(axes[1, i])
        counts += np.bincount(kinds.ravel(), minlength=5)
    patches = [Patch(color=WRONG(i), label=n) for i, n in enumerate(("object, right", *KINDS), 1)]
    figure.legend(handles=patches, loc="outside lower left", ncols=4)
    shares = counts[2:] / max(counts[2:].sum(), 1)
    parts = ", ".join(f"{share:.0%} {kind}" for share, kind in zip(shares, KINDS, strict=True))
    title = f"The wrong pixels of the {len(samples)} lowest: {parts}"
    return titled(figure, title, f"Dice: {', '.join(f'{s:.2f}' for s in scores)}.")


def symptoms(losses: Mapping[str, Sequence[float]], notes: Mapping[str, str]) -> Picture:
    """Losses of ill runs, a panel each, over that of the first, the healthy one, in grey.

    Lines are means of five steps, and their ends are compared. notes: lines below every panel.
    """
    healthy, *ill = losses
    figure, axes = theme.grid(len(ill), min(3, len(ill)), 1.95, 0.5, sharey=True)
    top = 1.05 * max(np.max(losses[healthy]), *(min(np.max(losses[n]), 3.0) for n in ill))
    for ax, name in zip(axes.flat, ill, strict=False):
        ax.plot(*_line(losses[healthy]), color=theme.BASE, lw=1.2)
        ax.plot(*_line(losses[name]), color=theme.PREDICTION)
        ax.set(title=name, xlabel=f"step (mean of {WINDOW})\n{notes[name]}", ylim=(0, top))
        ax.set_xlim(0, len(losses[healthy]) + 1)
    for ax in axes[:, 0]:
        ax.set_ylabel("loss")
    lower = [n for n in ill if _ends_lower(losses[n], losses[healthy])]
    told = f"{len(lower)} of {len(ill)} faulty runs end with a lower loss"
    told += f": {', '.join(lower)}" if lower else ""
    lines = {name: note.replace("\n", ", ") for name, note in notes.items()}
    theme.finding(figure, f'{told}.\nGrey is the run "{healthy}": {lines[healthy]}.')
    said = "; ".join(f"{name}: {lines[name]}" for name in losses)
    return Picture(figure, f"{told}. {said}.")


def _line(losses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The middles of all windows of steps, and the mean loss of each."""
    window = min(WINDOW, len(losses))
    smooth = np.convolve(losses, np.ones(window) / window, "valid")
    return np.arange(len(smooth)) + (window + 1) / 2, smooth


def _ends_lower(losses: Sequence[float], healthy: Sequence[float]) -> bool:
    """Whether the last mean is below the healthy one's by more than two standard errors."""
    last, other = (np.array(x[-WINDOW:], float) for x in (losses, healthy))
    apart = last.mean() - other.mean()
    jitter = np.hypot(*(x.std(ddof=1) / np.sqrt(len(x)) for x in (last, other)))
    return bool(apart < -2 * jitter)
