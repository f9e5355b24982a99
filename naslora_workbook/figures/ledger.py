"""Many methods on one page: what each trains, its gains; keyed by labels."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from naslora_workbook.figures import theme
from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.results.labels import LABELS

NEW, MOVED, NOTHING = theme.ADAPTER["lora"], theme.PREDICTION, "#F4F4F4"
COLOURS = {LABELS[name]: colour for name, colour in theme.ADAPTER.items()}


def touched(counts: Mapping[str, Mapping[str, tuple[int, bool]]], places: Sequence[str]) -> Picture:
    """Method x place: trained parameters; blue where they are the base's own, orange where new."""
    figure, ax = theme.chart(0.24 * len(counts) + 0.75)
    for y, row in enumerate(counts.values()):
        for x, place in enumerate(places):
            number, moved = row.get(place, (0, False))
            colour = (MOVED if moved else NEW) if number else NOTHING
            ax.barh(y, 0.92, 0.86, x - 0.46, color=colour, alpha=0.55 if number else 1)
            ax.text(x, y, brief(number) if number else "", ha="center", va="center", fontsize=8)
    theme.rows(ax, counts)
    ax.set(xlim=(-0.5, len(places) - 0.5), xticks=range(len(places)), xticklabels=places)
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    inside = [p for p in places if p != "decoder"]
    most = max(inside, key=lambda p: sum(p in row for row in counts.values()))
    title = f"{sum(most in row for row in counts.values())} of {len(counts)} train in {most}"
    theme.finding(figure, f"{title}; orange: new parameters, blue: the base's own, moved")
    return Picture(figure, f"{title}. Rows: methods; columns: places; entries: trained parameters.")


def brief(number: int) -> str:
    """1234567 as 1.2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            digits = ".2g" if number < 99.5 * size else ".0f"
            return f"{number / size:{digits}}{letter}"
    return str(number)


def against(gains: Mapping, ends: Mapping, lines: Mapping, rival: str) -> Picture:
    """Gains over `rival`, a panel a domain: gains[domain][method] a value a seed, ends intervals.

    lines: domain -> {label: gain} of yardsticks.
    """
    names = sorted(
        next(iter(gains.values())), key=lambda m: sum(g[m].mean() for g in gains.values())
    )
    figure, axes = theme.canvas(1, len(gains), height=0.22 * len(names) + 1, sharey=True)
    clear = {}
    for ax, (domain, of) in zip(axes[0], gains.items(), strict=True):
        for y, name in enumerate(names):
            low, high = ends[domain][name]
            colour = COLOURS.get(name, theme.INK)
            theme.interval_bar(ax, y, low, high, colour)
            ax.scatter(of[name], [y] * len(of[name]), color=colour, s=14, zorder=3)
        _yardsticks(ax, lines[domain], len(names))
        ax.axvline(0, color=theme.INK, lw=1)
        ax.set(title=domain, xlabel=f"IoU minus that of {rival}", ylim=(-0.6, len(names)))
        clear[domain] = sum(low > 0 for low, _ in ends[domain].values())
    axes[0, 0].set_yticks(range(len(names)), names)
    counts = ", ".join(f"{n} of {len(names)} on {d}" for d, n in clear.items())
    title = f"Methods better than {rival}: {counts}"
    return titled(figure, title, "Dots are seeds, bars intervals.")


def _yardsticks(ax: Axes, lines: Mapping[str, float], top: float) -> None:
    for row, (label, value) in enumerate(lines.items()):
        ax.axvline(value, color=theme.BASE, ls=":", lw=1.2)
        side = {"ha": "left" if value < 0 else "right", "va": "top"}
        shift = (3 if value < 0 else -3, 0)
        ax.annotate(
            label, (value, top - row), shift, textcoords="offset points", color=theme.BASE, **side
        )
