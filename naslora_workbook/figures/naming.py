"""Names written beside the points of a scatter, so that none covers a name, a point or a line."""

from collections.abc import Collection, Mapping
from itertools import product

from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from naslora_workbook.figures.theme import BASE, INK

SIZE = 8  # points of the letters
SIDES = tuple((x, y) for y in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5) for x in (1, -1))


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
    style = {"ha": "left" if left else "right", "va": "center", "color": INK, "fontsize": SIZE}
    style |= {"fontweight": "bold" if bold else "normal"}
    if max(abs(away[0]) / 2, abs(away[1])) > SIZE / 2:
        line = {"arrowstyle": "-", "color": BASE, "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
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
