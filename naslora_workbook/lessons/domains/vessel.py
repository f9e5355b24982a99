"""Vessels as a fundus camera sees them: thin branching trees that leave a bright disc.

Bleedings of the vessels' colour and width, pale streaks, blotches and uneven light lead astray:
a vessel is dark against what lies beside it, and goes on.
"""

import numpy as np

from naslora_workbook.lessons.domains.fields import (
    blob,
    camera,
    cover,
    fractal,
    grid,
    lay,
    noise,
    stamp,
)

CLASSES = ("vessel",)
STEP = 0.008  # of the side, between two points of a path
THIN, THICK = 0.01, 0.03  # radii


def draw(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image `S S 3` uint8 and mask `S S` uint8."""
    disc = rng.uniform(0.15, 0.85, 2)
    inside, image = _field(rng, size), _fundus(rng, size, disc)
    lay(image, (0.95, 0.75, 0.45), 0.35 * _streaks(rng, size))
    lay(image, _blood(rng), _spots(rng, size) * rng.uniform(0.45, 0.8))
    tree = stamp(size, *_trees(rng, disc))
    fade = 0.45 + 0.12 * noise(rng, size, 3) + rng.normal(0, 0.05)
    lay(image, image * _blood(rng) / image.mean((0, 1)), tree * np.clip(fade, 0.3, 0.9))
    image *= _light(rng, size)[..., None]
    lay(image, 0.02, 1 - inside)
    return camera(rng, image, 0.45, 0.025), ((tree > 0.5) & (inside > 0.5)).astype(np.uint8)


def _blood(rng) -> np.ndarray:
    return np.array([0.45, 0.13, 0.07]) * rng.normal(1, 0.1)


def _fundus(rng, size: int, disc) -> np.ndarray:
    """Orange ground in soft blotches, with the bright disc where the vessels come from."""
    tone = 0.5 + 0.22 * fractal(rng, size, 4, 4, 0.8)
    image = np.array([0.6, 0.22, 0.1]) + tone[..., None] * np.array([0.3, 0.24, 0.12])
    pale = blob(rng, size, disc, rng.uniform(0.07, 0.11), 0.05, 0.8)
    lay(image, (1.0, 0.72, 0.36), 0.85 * cover(pale, 0.5))
    return image


def _field(rng, size: int) -> np.ndarray:
    """Coverage of the camera's round field; wider than the picture in half of them."""
    y, x = grid(size)
    radius = 0.48 if rng.random() < 0.5 else 0.8
    return cover(radius - np.hypot(y - 0.5, x - 0.5), 0.01)


def _light(rng, size: int) -> np.ndarray:
    """A gradient and a falling off to one side: the darkest ground is as dark as a vessel."""
    (y, x), turn = grid(size), rng.uniform(0, 2 * np.pi)
    ramp = np.cos(turn) * (x - 0.5) + np.sin(turn) * (y - 0.5) + 0.12 * noise(rng, size, 2)
    return np.clip(0.85 + rng.uniform(0.5, 1.0) * ramp, 0.25, 1.3)


def _walk(rng, start, heading: float, length: float, bend: float) -> tuple[np.ndarray, np.ndarray]:
    """A path of points (y, x) every STEP, and its heading at each."""
    count = max(4, int(length / STEP))
    turns = np.convolve(rng.normal(0, bend, count + 11), np.ones(12) / 12, "valid")
    headings = heading + np.cumsum(turns)
    steps = STEP * np.stack([np.sin(headings), np.cos(headings)], 1)
    return start + np.cumsum(steps, 0), headings


def _trees(rng, disc) -> tuple[np.ndarray, np.ndarray]:
    """Points and radii of several trees rooted in the disc."""
    count, first = rng.integers(4, 7), rng.uniform(0, 2 * np.pi)
    headings = first + 2 * np.pi * (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count
    todo = [(disc, h, rng.uniform(0.6, 1) * THICK) for h in headings]
    points, radii = [], []
    while todo and len(points) < 60:
        start, heading, radius = todo.pop(0)
        length = rng.uniform(0.15, 0.35) + 8 * (radius - THIN)
        path, headings = _walk(rng, start, heading, length, 0.09)
        taper = radius * np.linspace(1, 0.72, len(path))
        points.append(path)
        radii.append(taper)
        if taper[-1] > THIN:
            fork = rng.uniform(0.25, 0.7, 2)
            for side, share in ((1, 0.95), (-1, rng.uniform(0.6, 0.9))):
                todo.append((path[-1], headings[-1] + side * fork[side], share * taper[-1]))
            at = rng.integers(len(path) // 3, len(path))
            side = rng.choice((-1, 1)) * rng.uniform(0.6, 1.2)
            todo.append((path[at], headings[at] + side, 0.6 * taper[at]))
    return np.concatenate(points), np.maximum(np.concatenate(radii), THIN)


def _spots(rng, size: int) -> np.ndarray:
    """Round and irregular bleedings, alone and in groups, as wide as the vessels or wider."""
    count = rng.integers(30, 70)
    centre = rng.uniform(0, 1, (count, 2))
    near = rng.random(count) < 0.5
    centre[near] = rng.uniform(0.1, 0.9, 2) + rng.normal(0, 0.12, (near.sum(), 2))
    radii = rng.uniform(THIN, 1.3 * THICK, count)
    lobes = centre + rng.normal(0, 0.7, (count, 2)) * radii[:, None]
    return stamp(size, np.concatenate([centre, lobes]), np.concatenate([radii, 0.7 * radii]))


def _streaks(rng, size: int) -> np.ndarray:
    """Pale lines: as thin as vessels, and bright."""
    paths = [
        _walk(rng, rng.uniform(0, 1, 2), rng.uniform(0, 7), rng.uniform(0.2, 0.6), 0.06)[0]
        for _ in range(rng.integers(6, 14))
    ]
    points = np.concatenate(paths)
    return stamp(size, points, np.full(len(points), rng.uniform(THIN, 0.6 * THICK)))
