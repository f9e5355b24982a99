"""Crop and weed from above: rows of broad-leaved plants, narrow-leaved weeds between and in them.

Both share their greens; what tells them apart is the shape of a leaf and the row. Clods, straw,
moss and hard light lead astray.
"""

import numpy as np

from naslora_workbook.lessons.domains.fields import (
    camera,
    cover,
    fractal,
    grid,
    lay,
    noise,
    slopes,
    window,
)

CLASSES = ("crop", "weed")
GREEN, OLIVE = np.array([0.2, 0.42, 0.15]), np.array([0.4, 0.44, 0.18])


class Field:
    """A picture being painted: image `S S 3`, and class ids `S S`."""

    def __init__(self, rng: np.random.Generator, size: int):
        self.rng, self.size = rng, size
        self.image, self.mask = _soil(rng, size), np.zeros((size, size), np.uint8)

    def blade(self, foot, turn: float, length: float, width: float, colour, label: int) -> None:
        """One leaf from its foot (y, x): a lens shape with a midrib, over its own shadow."""
        tip = foot + length * np.array([np.sin(turn), np.cos(turn)])
        part = window(self.size, (foot + tip) / 2, 0.5 * length + width + 0.02)
        y, x = grid(self.size)
        dy, dx = y[part[0]] - foot[0], x[:, part[1]] - foot[1]
        along = (np.cos(turn) * dx + np.sin(turn) * dy) / length
        across = np.cos(turn) * dy - np.sin(turn) * dx
        across = across - self.rng.normal(0, 0.12) * length * along**2
        half = width * np.sqrt(np.clip(4 * along * (1 - along), 0, None))
        inside = np.where((along > 0) & (along < 1), half - np.abs(across), -1.0)
        image, share = self.image[part], cover(inside, 1.2 / self.size)
        image *= (1 - 0.4 * cover(half + 0.012 - np.abs(across), 0.02) * (half > 0))[..., None]
        light = 1 + 0.2 * np.clip(across / width, -1, 1) * self.rng.choice((-1, 1))
        light = light + 0.25 * cover(0.15 * width - np.abs(across), 0.008)
        image += share[..., None] * (colour * light[..., None] - image)
        if label:
            self.mask[part][share > 0.5] = label


def draw(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image `S S 3` uint8 and class ids `S S` uint8: 0 soil, 1 crop, 2 weed."""
    field = Field(rng, size)
    _litter(rng, field)
    plants = [(place, _crop) for place in _rows(rng)]
    plants += [(rng.uniform(0, 1, 2), _weed) for _ in range(rng.integers(5, 10))]
    for i in rng.permutation(len(plants)):
        place, grow = plants[i]
        grow(rng, field, place)
    (y, x), turn = grid(size), rng.uniform(0, 2 * np.pi)
    ramp = np.cos(turn) * (x - 0.5) + np.sin(turn) * (y - 0.5)
    field.image *= (1 + rng.uniform(0, 0.6) * ramp + 0.1 * noise(rng, size, 3))[..., None]
    return camera(rng, field.image, 0.5, 0.025), field.mask


def _leaf_colour(rng) -> np.ndarray:
    return (GREEN + rng.random() * (OLIVE - GREEN)) * rng.uniform(0.75, 1.2)


def _rows(rng) -> list[np.ndarray]:
    """Places (y, x) of the crop: on parallel rows, with gaps."""
    turn, apart, step = rng.uniform(0, np.pi), rng.uniform(0.42, 0.55), rng.uniform(0.22, 0.3)
    down, side = np.array([np.sin(turn), np.cos(turn)]), np.array([np.cos(turn), -np.sin(turn)])
    first, places = rng.uniform(-0.5, 0.5, 2), []
    for row in range(-2, 3):
        for i in range(-4, 5):
            at = 0.5 + (row + first[0]) * apart * side + (i + first[1]) * step * down
            at = at + rng.normal(0, 0.02, 2)
            if rng.random() < 0.88 and (np.abs(at - 0.5) < 0.53).all():
                places.append(at)
    return places


def _crop(rng, field: Field, place) -> None:
    """A rosette of a few broad leaves."""
    colour, count, growth = _leaf_colour(rng), rng.integers(4, 7), rng.uniform(0.75, 1.15)
    for turn in rng.uniform(0, 7) + 2 * np.pi * np.arange(count) / count:
        length = growth * rng.uniform(0.075, 0.11)
        width = length * rng.uniform(0.27, 0.38)
        shade = colour * rng.uniform(0.85, 1.1)
        field.blade(place, turn + rng.normal(0, 0.25), length, width, shade, 1)


def _weed(rng, field: Field, place) -> None:
    """A tuft of narrow leaves."""
    colour, count, growth = _leaf_colour(rng), rng.integers(5, 9), rng.uniform(0.7, 1.2)
    for turn in rng.uniform(0, 2 * np.pi, count):
        length = growth * rng.uniform(0.08, 0.15)
        field.blade(place, turn, length, rng.uniform(0.012, 0.018), colour, 2)


def _litter(rng, field: Field) -> None:
    """Straw and dead leaves: the shapes of weed and crop, without their life."""
    for _ in range(rng.integers(5, 10)):
        colour = np.array([0.55, 0.47, 0.28]) * rng.uniform(0.6, 1.2)
        length, slim = rng.uniform(0.06, 0.16), rng.random() < 0.7
        width = 0.012 if slim else 0.3 * length
        field.blade(rng.uniform(0, 1, 2), rng.uniform(0, 7), length, width, colour, 0)


def _soil(rng, size: int) -> np.ndarray:
    """Clods in raking light, and moss as green as any leaf."""
    height = 0.02 * fractal(rng, size, 8, 4, 0.7)
    dy, dx = slopes(height)
    turn = rng.uniform(0, 2 * np.pi)
    light = np.clip(1 + 0.45 * (np.cos(turn) * dx + np.sin(turn) * dy), 0.35, 1.7)
    brown = rng.uniform((0.3, 0.22, 0.14), (0.45, 0.36, 0.27))
    image = brown * (1 + 6 * height[..., None])
    moss = fractal(rng, size, 4, 4, 0.7) - rng.uniform(0.2, 1.2)
    lay(image, _leaf_colour(rng), 0.9 * cover(moss, 0.7))
    return image * light[..., None]
