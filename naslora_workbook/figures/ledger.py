"""Many methods on one page: what each trains, its gains, its learning rates; keyed by labels."""

from collections.abc import Collection, Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import pts_to_poststep
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from naslora_workbook.figures import theme
from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.results.labels import LABELS

NEW, MOVED, NOTHING = theme.ADAPTER["lora"], theme.PREDICTION, "#F4F4F4"
PLOTLY = "application/vnd.plotly.v1+json"
COLOURS = {LABELS[name]: colour for name, colour in theme.ADAPTER.items()}
NONE_AT = 600  # where a logarithmic axis shows zero parameters
SIZE = 8  # points of the letters
SIDES = tuple((x, y) for y in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5) for x in (1, -1))


def touched(counts: Mapping[str, Mapping[str, tuple[int, bool]]], places: Sequence[str]) -> Picture:
    """Method x place: trained numbers; blue where they are the base's own, orange where new."""
    figure, ax = theme.chart(0.24 * len(counts) + 0.75)
    for y, row in enumerate(counts.values()):
        for x, place in enumerate(places):
            number, moved = row.get(place, (0, False))
            colour = (MOVED if moved else NEW) if number else NOTHING
            ax.barh(y, 0.92, 0.86, x - 0.46, color=colour, alpha=0.55 if number else 1)
            ax.text(x, y, brief(number) if number else "", ha="center", va="center", fontsize=8)
    ax.set(xlim=(-0.5, len(places) - 0.5), ylim=(len(counts) - 0.5, -0.5))
    ax.set_xticks(range(len(places)), places)
    ax.set_yticks(range(len(counts)), list(counts))
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    inside = [p for p in places if p != "decoder"]
    most = max(inside, key=lambda p: sum(p in row for row in counts.values()))
    title = f"{sum(most in row for row in counts.values())} of {len(counts)} train in {most}"
    theme.finding(figure, f"{title}; orange: new numbers, blue: the base's own, moved")
    return Picture(figure, f"{title}. Rows are methods, columns places, entries trained numbers.")


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
            ax.plot((low, high), (y, y), color=colour, lw=6, alpha=0.3, solid_capstyle="butt")
            ax.scatter(of[name], [y] * len(of[name]), color=colour, s=14, zorder=3)
        _yardsticks(ax, lines[domain], len(names))
        ax.axvline(0, color=theme.INK, lw=1)
        ax.set(title=domain, xlabel=f"IoU minus that of {rival}", ylim=(-0.6, len(names)))
        clear[domain] = sum(low > 0 for low, _ in ends[domain].values())
    axes[0, 0].set_yticks(range(len(names)), names)
    counts = ", ".join(f"{n} of {len(names)} on {d}" for d, n in clear.items())
    title = f"Methods surely better than {rival}: {counts}"
    return titled(figure, title, "Dots are seeds, bars intervals.")


def _yardsticks(ax: Axes, lines: Mapping[str, float], top: float) -> None:
    for label, value in lines.items():
        ax.axvline(value, color=theme.BASE, ls=":", lw=1.2)
        side = {"ha": "left" if value < 0 else "right", "va": "top"}
        shift = (3 if value < 0 else -3, 0)
        ax.annotate(
            label, (value, top), shift, textcoords="offset points", color=theme.BASE, **side
        )


class Live(Picture):
    """A picture that is a plotly figure wherever plotly's script is at hand."""

    def __init__(self, figure, alt: str, plot: dict):
        super().__init__(figure, alt)
        self.plot = plot

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {PLOTLY: self.plot}


def bargains(prices: Mapping, scores: Mapping, fronts: Mapping, lines: Mapping) -> Live:
    """IoU over trained numbers, a panel a domain, fronts joined; live with any price by hover.

    prices[method]: {price: value}, the first drawn; scores[domain][method]; lines[domain][label].
    Names of those on a front are bold.
    """
    figure, axes = theme.canvas(1, len(scores), height=3.6, sharey=True)
    first = next(iter(next(iter(prices.values()))))
    at = {m: max(price[first], NONE_AT) for m, price in prices.items()}
    top = 1.15 * max(score for of in scores.values() for score in of.values())
    for ax, (domain, of) in zip(axes[0], scores.items(), strict=True):
        front = sorted(fronts[domain], key=at.get)
        steps = pts_to_poststep([at[m] for m in front], [of[m] for m in front])
        ax.plot(*steps, color=theme.BASE, lw=0.8)
        for m, x in at.items():
            ax.scatter(x, of[m], color=COLOURS.get(m, theme.BASE), s=28, zorder=3)
        for label, value in lines[domain].items():
            ax.axhline(value, color=theme.BASE, ls="--", lw=1)
            ax.annotate(
                label, (NONE_AT, value), (0, 3), textcoords="offset points", color=theme.BASE
            )
        ax.set(xscale="log", title=domain, xlabel=f"{first} (bold: none better with as few)")
        ax.set(xlim=(0.6 * NONE_AT, 4e6), ylim=(0, top))
        ax.set_xticks([NONE_AT, 1e4, 1e5, 1e6], ["none", "10k", "100k", "1M"])
        ax.minorticks_off()
    axes[0, 0].set_ylabel("validation IoU")
    for ax, (domain, of) in zip(axes[0], scores.items(), strict=True):
        beside(ax, {m: (x, of[m]) for m, x in at.items()}, bold=fronts[domain])
    on = ", ".join(f"{len(f)} of {len(at)} on {d}" for d, f in fronts.items())
    title = f"Methods that no other beats in IoU with as few numbers: {on}"
    theme.finding(figure, title)
    return Live(figure, f"{title}.", _plot(prices, scores, fronts))


def _plot(prices: Mapping, scores: Mapping, fronts: Mapping) -> dict:
    """The same as plotly's JSON, with a menu of prices; fronts are drawn for the first of them."""
    kinds, names = list(next(iter(prices.values()))), list(prices)

    def x(kind):
        values = [float(p[kind]) for p in prices.values()]
        return [max(v, NONE_AT) for v in values] if kind == kinds[0] else values

    told = [[", ".join(f"{k} {v:g}" for k, v in p.items())] for p in prices.values()]
    hover = "%{text}: IoU %{y:.3f}<br>%{customdata[0]}<extra></extra>"
    same = {"type": "scatter", "mode": "markers", "text": names, "customdata": told}
    three = theme.ADAPTER["lora"], theme.PREDICTION, theme.ADAPTER["fixed_conv"]
    colours = dict(zip(scores, three, strict=False))
    data = []
    for domain, of in scores.items():
        ends = {"x": x(kinds[0]), "y": [round(float(of[m]), 4) for m in prices], "name": domain}
        mark = {"size": 10, "color": colours.get(domain, theme.BASE)}
        data.append(same | ends | {"hovertemplate": hover, "marker": mark})
    at, steps = dict(zip(names, x(kinds[0]), strict=True)), []
    for domain, front in fronts.items():
        way, of = sorted(front, key=at.get), scores[domain]
        ends = {"x": [at[m] for m in way], "y": [round(float(of[m]), 4) for m in way]}
        line = {"line": {"shape": "hv", "width": 1, "color": colours.get(domain, theme.BASE)}}
        steps.append(same | ends | line | {"mode": "lines", "hoverinfo": "skip", "name": "front"})

    def axis(kind):
        return {"title": {"text": kind}, "type": "log" if kind == kinds[0] else "linear"}

    def change(kind):
        shown = [True] * len(data) + [kind == kinds[0]] * len(steps)
        ways = [x(kind)] * len(data) + [step["x"] for step in steps]
        return [{"x": ways, "visible": shown}, {"xaxis": axis(kind)}]

    buttons = [{"label": k, "method": "update", "args": change(k)} for k in kinds]
    layout = {"xaxis": axis(kinds[0]), "yaxis": {"title": {"text": "validation IoU"}}}
    menu = {"buttons": buttons, "x": 0, "y": 1.2, "xanchor": "left", "direction": "right"}
    return {"data": data + steps, "layout": layout | {"updatemenus": [menu | {"type": "buttons"}]}}


def rates(tried: Mapping[str, Mapping[float, float]], title: str) -> Picture:
    """IoU of every method at every learning rate that was tried, the best of each outlined."""
    grid = sorted({rate for row in tried.values() for rate in row})
    figure, ax = theme.chart(0.22 * len(tried) + 0.8)
    values = np.array([[row.get(rate, np.nan) for rate in grid] for row in tried.values()])
    shown = ax.imshow(values, cmap=theme.SEQUENTIAL, aspect="auto", vmin=0)
    for (y, x), value in np.ndenumerate(values):
        pale = value > 0.6 * np.nanmax(values)
        best = value == np.nanmax(values[y])
        style = {
            "color": theme.INK if pale else "white",
            "fontweight": "bold" if best else "normal",
        }
        ax.text(x, y, f"{value:.3f}" + " *" * bool(best), ha="center", va="center", **style)
    ax.set_xticks(range(len(grid)), [f"{rate:g}" for rate in grid])
    ax.set_yticks(range(len(tried)), list(tried))
    ax.set_xlabel("learning rate; * chosen")
    figure.colorbar(shown, ax=ax, label="IoU of one seed")
    return titled(figure, title, "Rows are methods, columns learning rates.")


def beside(ax: Axes, points: Mapping[str, tuple[float, float]], bold: Collection[str] = ()) -> None:
    """Write each name near its point, joined to it by a line where it had to go farther.

    The axes need their final limits, and keep all of their lines free.
    """
    ax.figure.draw_without_rendering()
    at = {n: ax.transData.transform(xy) * _points(ax) for n, xy in points.items()}
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in at.values()]
    room = Bbox(ax.get_window_extent().get_points() * _points(ax))
    lines = [_path(ax, line) for line in ax.get_lines()]
    for name in sorted(points, key=lambda n: (-round(at[n][1] / SIZE), at[n][0])):
        width = (0.66 if name in bold else 0.58) * SIZE * len(name)
        taken.append(_free(at[name], width, taken, lines, room))
        _write(ax, name, points[name], at[name], taken[-1], name in bold)


def _points(ax: Axes) -> float:
    return 72 / ax.figure.dpi


def _path(ax: Axes, line) -> Path:
    found = line.get_path().transformed(line.get_transform())
    return Path(found.vertices * _points(ax), found.codes)


def _write(ax: Axes, name: str, point, at, box: Bbox, bold: bool) -> None:
    left = box.x0 >= at[0]
    away = (box.x0 if left else box.x1) - at[0], (box.y0 + box.y1) / 2 - at[1]
    style = {
        "ha": "left" if left else "right",
        "va": "center",
        "color": theme.INK,
        "fontsize": SIZE,
    }
    style |= {"fontweight": "bold" if bold else "normal"}
    if max(abs(away[0]) / 2, abs(away[1])) > SIZE / 2:
        line = {"arrowstyle": "-", "color": theme.BASE, "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
        style["arrowprops"] = line | {"relpos": (0 if left else 1, 0.5)}
    ax.annotate(name, point, away, textcoords="offset points", **style)


def _free(point, width: float, taken: list, lines: list, room: Bbox) -> Bbox:
    """The box nearest to a point that crosses nothing; where there is none, the first."""
    boxes = []
    for far, (side, step) in product((6, 16, 30, 48), SIDES):
        x, y = point[0] + side * far - (width if side < 0 else 0), point[1] + step * (SIZE + 2)
        box = Bbox.from_extents(x, y - SIZE / 2, x + width, y + SIZE / 2)
        inside = room.contains(box.x0, box.y0) and room.contains(box.x1, box.y1)
        crossed = any(path.intersects_bbox(box, filled=False) for path in lines)
        if inside and not crossed and not any(box.overlaps(other) for other in taken):
            return box
        boxes.append(box)
    return boxes[0]
