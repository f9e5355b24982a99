"""Polyps as an endoscope sees them: a dome on folded mucosa, lit from the camera.

One height map holds folds, pits and the polyp, so all are shaded and shine alike: what swells
out of the wall within a closed outline is the polyp. Stains, red patches, wet spots and the dark
lumen lead astray.
"""

import numpy as np
from scipy import ndimage

from naslora_workbook.lessons.domains.fields import (
    blob,
    camera,
    cover,
    fractal,
    grid,
    lay,
    noise,
    slopes,
)

CLASSES = ("polyp",)


def draw(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image `S S 3` uint8 and mask `S S` uint8."""
    away = blob(rng, size, rng.uniform(0.15, 0.85, 2), rng.uniform(0.12, 0.26), 0.22, flat=0.6)
    share = cover(away, 0.25)
    wall = _folds(rng, size) - _pits(rng, size)
    height = wall * (1 - 0.9 * share) + _dome(rng, away) + 0.003 * fractal(rng, size, 8, 3)
    image = _albedo(rng, size, share) * _light(rng, size, height)[..., None]
    _residue(rng, image, share)
    image += _shine(rng, size, height)[..., None]
    frame = _frame(rng, size)
    lay(image, 0.02, frame)
    return camera(rng, image, 0.6, 0.012), ((away > 0) & (frame < 0.5)).astype(np.uint8)


def _pits(rng, size: int) -> np.ndarray:
    """Diverticula: domes turned inwards, with a polyp's outline."""
    pits = np.zeros((size, size))
    for _ in range(rng.integers(2, 6)):
        hollow = blob(rng, size, rng.uniform(0.05, 0.95, 2), rng.uniform(0.08, 0.2), 0.3, 0.6)
        pits = np.maximum(pits, _dome(rng, hollow))
    return pits


def _residue(rng, image: np.ndarray, share: np.ndarray) -> None:
    """Flat stains of bile, pale or brown, with sharp outlines."""
    size = len(image)
    for _ in range(rng.integers(1, 5)):
        stain = blob(rng, size, rng.random(2), rng.uniform(0.04, 0.16), 0.4, 0.4)
        colour = rng.uniform((0.85, 0.85, 0.3), (1.1, 1.12, 0.9))
        lay(image, image * colour, rng.uniform(0.3, 0.8) * cover(stain, 0.1) * (1 - share))


def _dome(rng, away: np.ndarray) -> np.ndarray:
    """A cap that leaves the wall in a soft foot, knobbly now and then."""
    size, a = len(away), np.clip(away, 0, 1)
    cap = rng.uniform(0.05, 0.09) * (1 - (1 - a) ** 2)
    cap += a * rng.choice((0, 0.012)) * noise(rng, size, 9)
    return ndimage.gaussian_filter(cap, rng.uniform(0.006, 0.018) * size)


def _folds(rng, size: int) -> np.ndarray:
    """A few ridges: crests of a warped wave, steep on one side, fading in and out."""
    (y, x), turn, height = grid(size), rng.uniform(0, 2 * np.pi), 0
    for _ in range(rng.integers(1, 3)):
        turn += rng.uniform(0.5, 1.2)
        along = np.cos(turn) * x + np.sin(turn) * y + 0.09 * noise(rng, size, 2)
        crest = 1 - np.abs(2 * ((along * rng.uniform(1.5, 3.0) + rng.random()) % 1) - 1)
        height = height + 0.07 * crest**3 * cover(noise(rng, size, 2), 1.5)
    return height


def _albedo(rng, size: int, share: np.ndarray) -> np.ndarray:
    """Mucosa between orange and red, in patches; the polyp is a little redder or paler."""
    pale, red = np.array([0.85, 0.6, 0.47]), np.array([0.72, 0.33, 0.27])
    blood = 0.45 + 0.25 * fractal(rng, size, 3, 4) + rng.normal(0, 0.1)
    blood = blood + share * rng.choice((-1, 1)) * rng.uniform(0.05, 0.25)
    return pale + np.clip(blood + _vessels(rng, size) * (1 - share), 0, 1)[..., None] * (red - pale)


def _vessels(rng, size: int) -> np.ndarray:
    """The net of fine vessels that the mucosa has and the polyp has not: zeros of a noise."""
    net = np.abs(noise(rng, size, 7) + 0.3 * noise(rng, size, 20))
    return rng.uniform(0, 0.8) * cover(0.12 - net, 0.2) * cover(noise(rng, size, 2), 1)


def _light(rng, size: int, height: np.ndarray) -> np.ndarray:
    """Lambert's law, the lamp beside the lens; creases and the lumen are dark."""
    (y, x), (dy, dx) = grid(size), slopes(height)
    lamp = rng.normal(0.5, 0.2, 2)
    facing = 1 - 1.1 * ((lamp[0] - y) * dy + (lamp[1] - x) * dx)
    lambert = np.clip(facing, 0.1, 2) / np.sqrt(1 + dy**2 + dx**2)
    crease = ndimage.gaussian_filter(height, 0.035 * size) - height
    hole = rng.uniform(0, 1, 2)
    depth = np.hypot(y - hole[0], x - hole[1]) + 0.06 * noise(rng, size, 3)
    fall = (0.25 + 0.75 * cover(depth - 0.25, 0.9)) * (1 + 2 * height)
    return lambert * fall * np.clip(1 - 9 * crease, 0.45, 1.15)


def _shine(rng, size: int, height: np.ndarray) -> np.ndarray:
    """Wet spots where the surface, a little rough, faces the lamp."""
    dy, dx = slopes(height + 0.006 * noise(rng, size, 16))
    aim = rng.normal(0, 0.45, 2)
    return 0.9 * np.exp(-((dy - aim[0]) ** 2 + (dx - aim[1]) ** 2) / 0.012)


def _frame(rng, size: int) -> np.ndarray:
    """Coverage of the black corners of an endoscope's round picture, in half of the pictures."""
    y, x = grid(size)
    radius = rng.uniform(0.55, 0.65) if rng.random() < 0.5 else 1.0
    return cover(np.hypot(y - 0.5, x - 0.5) - radius, 0.02)
