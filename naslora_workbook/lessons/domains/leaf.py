"""Leaf lesions: several spots on a veined leaf that lies on soil and litter.

A lesion has a dark rim, a dry centre and a yellow halo. Splashes of mud, as large and as brown as a
lesion, holes that show the soil, crumbs, yellowing, and litter of the same browns lead astray.
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
    places,
    slopes,
    stamp,
)

CLASSES = ("lesion",)
BROWN, DRY = np.array([0.34, 0.22, 0.12]), np.array([0.62, 0.5, 0.33])
YELLOW = np.array([0.72, 0.68, 0.25])


def draw(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image `S S 3` uint8 and mask `S S` uint8."""
    along, across, inside = _outline(rng, size)
    leaf = _blade(rng, size, along, across)
    _splashes(rng, size, leaf, inside)
    sick = _lesions(rng, size, leaf, inside)
    ground, holes = _ground(rng, size), _holes(rng, size, inside)
    lay(leaf, ground * 0.7, holes)
    lay(leaf, _brown(rng), _crumbs(rng, size))
    ground *= (0.5 + 0.5 * cover(-inside - 0.02, 0.12))[..., None]  # the leaf's shadow
    lay(ground, leaf, cover(inside, 0.012))
    mask = (sick > 0.5) & (inside > 0) & (holes < 0.5)
    return camera(rng, ground, 0.5, 0.02), mask.astype(np.uint8)


def _brown(rng) -> np.ndarray:
    """Any colour between wet soil and dry leaf."""
    return (BROWN + rng.random() * (DRY - BROWN)) * rng.normal(1, 0.08)


def _outline(rng, size: int):
    """Along and across the leaf (0 at its foot and midrib), and a field positive inside."""
    (y, x), turn = grid(size), rng.uniform(0, 2 * np.pi)
    dy, dx = y - rng.uniform(0.4, 0.6), x - rng.uniform(0.4, 0.6)
    length, width = rng.uniform(0.85, 1.3), rng.uniform(0.26, 0.42)
    along = (np.cos(turn) * dx + np.sin(turn) * dy) / length + 0.5
    across = np.cos(turn) * dy - np.sin(turn) * dx + rng.normal(0, 0.25) * (along - 0.5) ** 2
    half = width * np.sin(np.pi * np.clip(along, 0, 1) ** rng.uniform(0.7, 1.1)) ** 0.8
    return along, across, half - np.abs(across) + 0.01 * noise(rng, size, 9)


def _blade(rng, size: int, along, across) -> np.ndarray:
    """Green, yellowing in places, with pale veins; the tissue bulges between them."""
    pitch, lean = rng.uniform(0.1, 0.16), rng.uniform(0.5, 1.1)
    phase = (along - lean * np.abs(across)) / pitch + 0.04 * noise(rng, size, 6)
    between = np.abs((phase % 1) - 0.5)  # 0.5 on a side vein
    veins = cover(between - 0.46, 0.06) * 0.7
    veins = np.maximum(veins, cover(0.012 - np.abs(across), 0.01))
    bulge = -0.05 * between**2 + 0.005 * fractal(rng, size, 6, 3)
    dy, dx = slopes(bulge)
    lamp = rng.normal(0, 0.5, 2)
    green = np.array([0.25, 0.47, 0.16]) * rng.normal(1, 0.08, 3)
    yellowing = 0.3 * np.clip(fractal(rng, size, 2, 3) + rng.normal(0, 0.5), 0, 1.5)
    leaf = green + yellowing[..., None] * (YELLOW - green)
    lay(leaf, leaf + np.array([0.16, 0.15, 0.12]), veins)
    return leaf * np.clip(1 - lamp[0] * dy - lamp[1] * dx, 0.5, 1.6)[..., None]


def _lesions(rng, size: int, leaf: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Paint several lesions, most of them in one or two groups; coverage of all of them."""
    sick, grain = np.zeros((size, size)), 0.05 * noise(rng, size, 24)
    foci, dry = places(rng, inside > 0.03, 2), _brown(rng) + 0.12
    for place in places(rng, inside > 0.03, rng.integers(4, 12)):
        if rng.random() < 0.5:
            place = foci[rng.integers(len(foci))] + rng.normal(0, 0.09, 2)
        height = blob(rng, size, place, np.exp(rng.uniform(-3.5, -2.1)), 0.3, 0.6) + grain
        halo = rng.uniform(0.25, 0.65) * cover(height + 0.4, 0.9)
        lay(leaf, YELLOW * rng.uniform(0.8, 1.1), halo)
        lay(leaf, _brown(rng) * 0.85, cover(height, 0.2))
        lay(leaf, dry, rng.uniform(0, 0.9) * cover(height - 0.45, 0.4))
        sick = np.maximum(sick, cover(height, 0.2))
    return sick


def _splashes(rng, size: int, leaf: np.ndarray, inside: np.ndarray) -> None:
    """Paint mud: a lesion's sizes, shapes and browns, with neither halo nor dry centre."""
    for place in places(rng, inside > 0.03, rng.integers(10, 20)):
        height = blob(rng, size, place, np.exp(rng.uniform(-3.5, -2.1)), 0.3, 0.6)
        lay(leaf, _brown(rng) * rng.uniform(0.7, 1.1), cover(height, 0.2))


def _holes(rng, size: int, inside: np.ndarray) -> np.ndarray:
    """Coverage of what insects ate: sharp, without a halo."""
    holes = np.zeros((size, size))
    for place in places(rng, inside > 0.03, rng.integers(1, 6)):
        radius = np.exp(rng.uniform(-3.5, -2.4))
        holes = np.maximum(holes, cover(blob(rng, size, place, radius, 0.2, 0.6), 0.1))
    return holes


def _crumbs(rng, size: int) -> np.ndarray:
    """Coverage of grains of soil."""
    count = rng.integers(10, 40)
    return stamp(size, rng.random((count, 2)), np.exp(rng.uniform(-5.5, -4.2, count)))


def _ground(rng, size: int) -> np.ndarray:
    """Soil under litter: leaves as dry, and as yellow, as the lesions and their halos."""
    tone = fractal(rng, size, 8, 4, 0.9)
    ground = _brown(rng) * (1 + 0.25 * tone[..., None])
    for _ in range(rng.integers(3, 8)):
        colour = _brown(rng) + rng.random() * 0.5 * (YELLOW - BROWN)
        height = blob(rng, size, rng.random(2), rng.uniform(0.06, 0.2), 0.3, 0.35)
        lay(ground, ground * 0.5, cover(height + 0.15, 0.3))
        lay(ground, colour * (1 + 0.12 * tone[..., None]), cover(height, 0.05))
    return ground
