"""The learning path as an SVG: a box a lesson, a lane a stage of the argument, arrows for needs."""

import re
import textwrap
from collections.abc import Sequence
from xml.sax.saxutils import escape

from naslora_workbook.figures.theme import ADAPTER, BASE, INK, PROMPT
from naslora_workbook.publishing.lesson import Lesson

LANES = (  # name, first number of a lesson in it, colour
    ("a frozen model", 0, BASE),
    ("low rank and space", 4, ADAPTER["lora"]),
    ("who chooses?", 7, ADAPTER["nas_lora"]),
    ("is it worth it?", 11, ADAPTER["conv_lora"]),
    ("your turn", 13, PROMPT),
)
WIDTH, LEFT, STEP, LANE = 900, 112, 197, 106  # pixels: of all, lane names, a column, a lane
BOX, TALL, STRIP, ROUND = 178, 66, 30, 8  # of a box: width, height, its number's strip; corners
ALT = "The learning path: lessons as boxes in five lanes, with an arrow from what a lesson needs"

Point = tuple[float, float]


def learning_path(found: Sequence[Lesson]) -> str:
    """The picture of these lessons; what a lesson's `Needs` line links to has an arrow to it."""
    titles = {lesson.number: lesson.title for lesson in found}
    arrows = [(a, b.number) for b in found for a in needs(b.opening) if a in titles]
    places = _places(sorted(titles), arrows)
    height = LANE * (1 + max(row for row, _ in places.values()))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" font-family="system-ui, Helvetica, Arial, sans-serif" '
        f'fill="{INK}">',
        f"<title>{ALT}</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{INK}"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *(_lane(row, *lane) for row, lane in enumerate(LANES) if row * LANE < height),
        *(_arrow(places[a], places[b]) for a, b in arrows),
        *(_box(places[number], number, title) for number, title in titles.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def needs(opening: str) -> list[int]:
    """Numbers of the lessons that the line `Needs ...` of a first cell links to."""
    line = re.search(r"^Needs (.*)$", opening, flags=re.MULTILINE)
    return [int(n) for n in re.findall(r"\]\((\d\d)_", line[1])] if line else []


def _places(numbers: list[int], arrows: list[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Row and column of every lesson; a lane is moved to where its arrows are shortest."""
    places: dict[int, tuple[int, int]] = {}
    columns = (WIDTH - LEFT) // STEP
    for row, (_, first, _) in enumerate(LANES):
        after = LANES[row + 1][1] if row + 1 < len(LANES) else 100
        mine = [n for n in numbers if first <= n < after]
        shifts = range(max(1, columns - len(mine) + 1))
        lengths = [_length(places, mine, shift, arrows) for shift in shifts]
        shift = lengths.index(min(lengths))
        places |= {n: (row, shift + i) for i, n in enumerate(mine)}
    return places


def _length(places: dict, mine: list[int], shift: int, arrows: list[tuple[int, int]]) -> int:
    """Columns that arrows to lessons of a lane cross, were the lane to begin at column `shift`."""
    column = {n: c for n, (_, c) in places.items()} | {n: shift + i for i, n in enumerate(mine)}
    return sum(abs(column[a] - column[b]) for a, b in arrows if b in mine and a in column)


def _corner(place: tuple[int, int]) -> Point:
    """The upper left corner of a box."""
    row, column = place
    return LEFT + STEP * column + (STEP - BOX) / 2, LANE * row + (LANE - TALL) / 2


def _lane(row: int, name: str, _: int, colour: str) -> str:
    top = LANE * row
    lines = textwrap.wrap(name, 9)
    band = f'<rect y="{top + 3}" width="{WIDTH}" height="{LANE - 6}" rx="{ROUND}" fill="{colour}"'
    return band + ' fill-opacity="0.12"/>\n' + _lines(lines, 14, top + LANE / 2, 15, "bold")


def _box(place: tuple[int, int], number: int, title: str) -> str:
    x, y = _corner(place)
    colour = LANES[place[0]][2]
    dark = sum(w * int(colour[i : i + 2], 16) for w, i in ((0.3, 1), (0.6, 3), (0.1, 5))) < 150
    side = f"M{x + STRIP} {y}h{ROUND - STRIP}q{-ROUND} 0 {-ROUND} {ROUND}v{TALL - 2 * ROUND}"
    side += f"q0 {ROUND} {ROUND} {ROUND}h{STRIP - ROUND}z"
    return "\n".join(
        [
            f'<rect x="{x}" y="{y}" width="{BOX}" height="{TALL}" rx="{ROUND}" fill="white" '
            f'stroke="{colour}" stroke-width="1.5"/><path d="{side}" fill="{colour}"/>',
            f'<text x="{x + STRIP / 2}" y="{y + TALL / 2 + 6}" font-size="16" font-weight="bold" '
            f'text-anchor="middle" fill="{"white" if dark else INK}">{number:02d}</text>',
            _lines(_short(title), x + STRIP + 7, y + TALL / 2, 13, "normal"),
        ]
    )


def _short(title: str) -> list[str]:
    """A title on three lines at most, if need be up to its comma."""
    lines = textwrap.wrap(title, 17)
    return lines if len(lines) < 4 else textwrap.wrap(title.partition(",")[0], 17)[:3]


def _lines(lines: list[str], x: float, middle: float, size: int, weight: str) -> str:
    """Text of several lines around a height."""
    first = middle - (len(lines) - 1) * 1.25 * size / 2 + 0.35 * size
    spans = (
        f'<tspan x="{x}" y="{first + 1.25 * size * i:.1f}">{escape(line)}</tspan>'
        for i, line in enumerate(lines)
    )
    return f'<text font-size="{size}" font-weight="{weight}">{"".join(spans)}</text>'


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Straight to the next box of a lane, else down, along the gap between lanes, and down."""
    (x0, y0), (x1, y1) = _corner(start), _corner(end)
    if start[0] == end[0] and end[1] == start[1] + 1:
        points = [(x0 + BOX, y0 + TALL / 2), (x1, y1 + TALL / 2)]
    elif start[0] == end[0]:  # over the boxes in between
        points = [(x0 + BOX / 2, y0), (x0 + BOX / 2, y0 - 12), (x1 + BOX / 2, y0 - 12)]
        points.append((x1 + BOX / 2, y1))
    else:
        below, above = LANE * (start[0] + 1), LANE * end[0]
        points = [(x0 + BOX / 2, y0 + TALL), (x0 + BOX / 2, below)]
        if end[0] > start[0] + 1:  # between two columns past the lanes in between
            passing = x0 + BOX + 5 - (0 if x1 > x0 else STEP)
            points += [(passing, below), (passing, above)]
        points += [(x1 + BOX / 2, above), (x1 + BOX / 2, y1)]
    path = _rounded([p for i, p in enumerate(points) if i == 0 or p != points[i - 1]])
    leap = ' opacity="0.5"' if end[0] > start[0] + 1 else ""
    ink = f'fill="none" stroke="{INK}" stroke-width="1.5" marker-end="url(#head)"{leap}'
    return f'<path d="{path}" {ink}/>'


def _rounded(points: list[Point]) -> str:
    """A path through points whose corners are cut by curves."""
    path = f"M{points[0][0]} {points[0][1]}"
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        into, out = _toward(here, before), _toward(here, after)
        path += f"L{into[0]} {into[1]}Q{here[0]} {here[1]} {out[0]} {out[1]}"
    return path + f"L{points[-1][0]} {points[-1][1]}"


def _toward(here: Point, there: Point) -> Point:
    """A point up to ROUND pixels from here, on the way there (along one axis)."""
    return tuple(h + max(-ROUND, min(ROUND, (t - h) / 2)) for h, t in zip(here, there, strict=True))
