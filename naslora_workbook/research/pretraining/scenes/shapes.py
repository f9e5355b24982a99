"""Outlines of things: each shape is an anti-aliased coverage map `S S` in [0, 1]."""

import numpy as np
from PIL import Image, ImageDraw

OVERSAMPLE = 2


class Canvas:
    """Draws in units of the image side (0 to 1), at twice the resolution, then averages."""

    def __init__(self, size: int):
        self.size, self.scale = size, size * OVERSAMPLE
        self.image = Image.new("L", (self.scale, self.scale), 0)
        self.draw = ImageDraw.Draw(self.image)

    def polygon(self, points: np.ndarray, fill: int = 255) -> None:
        self.draw.polygon([tuple(p) for p in points * self.scale], fill=fill)

    def stroke(self, points: np.ndarray, widths: np.ndarray) -> None:
        for (x, y), w in zip(points * self.scale, widths * self.scale / 2, strict=True):
            self.draw.ellipse((x - w, y - w, x + w, y + w), fill=255)

    def coverage(self) -> np.ndarray:
        small = self.image.resize((self.size, self.size), Image.Resampling.BOX)
        return np.asarray(small, np.float32) / 255


def _polar(radius: np.ndarray, theta: np.ndarray, rng, squeeze=(0.45, 1.0)) -> np.ndarray:
    """Points of a closed curve, squeezed along a random axis and turned."""
    points = np.stack([radius * np.cos(theta), radius * np.sin(theta) * rng.uniform(*squeeze)], 1)
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    return points @ np.array([[c, s], [-s, c]])


def ellipse(rng) -> np.ndarray:
    """A round to long ellipse."""
    theta = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return _polar(np.ones_like(theta), theta, rng, (0.35, 1))


def blob(rng) -> np.ndarray:
    """A smooth closed curve with a few harmonics, lobed more often than not."""
    theta = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    waves = sum(
        rng.normal(0, 0.34 / k**0.8) * np.cos(k * theta + rng.uniform(0, 7)) for k in range(2, 7)
    )
    return _polar(np.maximum(1 + waves, 0.15), theta, rng)


def star(rng) -> np.ndarray:
    """Three to eight points, deep or shallow."""
    theta = np.linspace(0, 2 * np.pi, 2 * rng.integers(3, 9), endpoint=False)
    radius = np.where(np.arange(theta.size) % 2, rng.uniform(0.25, 0.8), 1.0)
    return _polar(radius * rng.uniform(0.8, 1.2, theta.size), theta, rng, (0.6, 1))


def polygon(rng) -> np.ndarray:
    """Three to seven corners at random angles."""
    theta = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
    return _polar(rng.uniform(0.5, 1, theta.size), theta, rng, (0.4, 1))


def box(rng) -> np.ndarray:
    """Four corners: a square to a bar."""
    corners = np.array([0.25, 0.75, 1.25, 1.75]) * np.pi
    return _polar(np.ones(4), corners, rng, (0.15, 1))


OUTLINES = (ellipse, blob, blob, blob, star, polygon, box)


CENTRE, UNIT = np.array([0.5, 0.5]), 0.3  # a thing is drawn in the middle of its own canvas


def solid(rng, canvas: Canvas, outlines=OUTLINES) -> None:
    """One closed outline, now and then with a bite or a hole taken out of it."""
    canvas.polygon(CENTRE + UNIT * outlines[rng.integers(len(outlines))](rng))
    if len(outlines) > 1 and rng.random() < 0.3:
        away = rng.uniform(0, 1.1) * UNIT * _unit_vector(rng)
        canvas.polygon(CENTRE + away + UNIT * rng.uniform(0.3, 0.8) * blob(rng), fill=0)


def creature(rng, canvas: Canvas) -> None:
    """A body with limbs: an ellipse and tapering strokes grown out of it, some with an end."""
    canvas.polygon(CENTRE + UNIT * rng.uniform(0.4, 0.7) * ellipse(rng))
    for _ in range(rng.integers(2, 7)):
        path = _walk(rng, CENTRE, UNIT * rng.uniform(0.7, 1.4), bend=0.2)
        canvas.stroke(path, np.linspace(1, rng.uniform(0.2, 0.8), len(path)) * UNIT * 0.4)
        if rng.random() < 0.4:
            canvas.polygon(path[-1] + UNIT * rng.uniform(0.2, 0.35) * ellipse(rng))


def strand(rng, canvas: Canvas) -> None:
    """A thin curve that may branch: wire, twig, vessel, crack. Width 3 to 8 % of its canvas."""
    width, bend = rng.uniform(0.03, 0.08), rng.uniform(0.05, 0.3)
    path = _walk(rng, CENTRE - UNIT * _unit_vector(rng), 2.4 * UNIT, bend, steps=60)
    canvas.stroke(path, np.linspace(1, rng.uniform(0.4, 1), len(path)) * width)
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        twig = _walk(rng, path[rng.integers(len(path))], UNIT * rng.uniform(0.5, 1.2), bend)
        canvas.stroke(twig, np.linspace(0.8, 0.4, len(twig)) * width)


def _unit_vector(rng) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _walk(rng, start: np.ndarray, length: float, bend: float, steps: int = 30) -> np.ndarray:
    """A smooth random path of `steps` points."""
    turns = np.cumsum(rng.normal(0, bend * 12 / steps, steps))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turns) * 12 / steps
    step = np.stack([np.cos(heading), np.sin(heading)], 1) * length / steps
    return start + np.cumsum(step, 0)


def thing(rng: np.random.Generator, size: int, sort: str = "any") -> np.ndarray:
    """Coverage `size size` of a random thing of one sort (a key of SORTS)."""
    canvas = Canvas(size)
    SORTS[sort](rng, canvas)
    return canvas.coverage()


def _one_of(*draws, odds):
    return lambda rng, canvas: draws[rng.choice(len(draws), p=odds)](rng, canvas)


SORTS = {
    "any": _one_of(solid, creature, strand, odds=(0.60, 0.25, 0.15)),
    "body": _one_of(solid, creature, odds=(0.75, 0.25)),
    "solid": solid,
    "creature": creature,
    "ellipse": lambda rng, canvas: solid(rng, canvas, (ellipse,)),
    "blob": lambda rng, canvas: solid(rng, canvas, (blob,)),
}
