"""A fixed library of grey textures, from which every scene cuts, turns and colours its surfaces."""

from functools import cache

import numpy as np
from scipy import ndimage

SIDE, COUNT, LIBRARY_SEED = 256, 120, 20250


def _unit(x: np.ndarray) -> np.ndarray:
    """Stretch the 2nd to 98th percentile onto [0, 1]."""
    low, high = np.percentile(x, (2, 98))
    return np.clip((x - low) / (high - low + 1e-9), 0, 1).astype(np.float32)


def _frequencies() -> tuple[np.ndarray, np.ndarray]:
    f = np.fft.fftfreq(SIDE)
    return f[:, None], f[None, :]


def power_law(rng: np.random.Generator) -> np.ndarray:
    """1/f^beta noise, the spectrum of natural images for beta near 1."""
    fy, fx = _frequencies()
    f = np.hypot(fy, fx)
    f[0, 0] = 1
    spectrum = np.fft.fft2(rng.standard_normal((SIDE, SIDE))) * f ** -rng.uniform(0.6, 1.8)
    spectrum[0, 0] = 0
    return np.fft.ifft2(spectrum).real


def oriented(rng: np.random.Generator) -> np.ndarray:
    """Noise whose energy lies in one direction and one band of scales: grain, fur, fibres."""
    fy, fx = _frequencies()
    f, turn = np.hypot(fy, fx), np.arctan2(fy, fx) - rng.uniform(0, np.pi)
    band = np.exp(-0.5 * (np.log2((f + 1e-6) / 2 ** -rng.uniform(2.5, 5)) / 0.6) ** 2)
    narrow = np.exp(-0.5 * (np.sin(turn) / rng.uniform(0.1, 0.5)) ** 2)
    return np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIDE, SIDE))) * band * narrow).real


def stripes(rng: np.random.Generator) -> np.ndarray:
    """Warped waves, sharp or smooth: bands, ripples, checks."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    bend = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 24, mode="wrap") * 25
    angle, n = rng.uniform(0, np.pi), rng.uniform(6, 40)
    wave = np.sin(
        2 * np.pi * n * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 4) * bend
    )
    if rng.random() < 0.4:
        wave = wave * np.sin(2 * np.pi * n * (y * np.cos(angle) - x * np.sin(angle)))
    return np.tanh(wave * rng.uniform(0.5, 5))


def cells(rng: np.random.Generator) -> np.ndarray:
    """Distance to scattered points: pebbles, scales, spots."""
    points = np.ones((SIDE, SIDE), bool)
    points.flat[rng.choice(SIDE * SIDE, rng.integers(40, 900), replace=False)] = False
    return ndimage.distance_transform_edt(points) ** rng.uniform(0.5, 2)


def spots(rng: np.random.Generator) -> np.ndarray:
    """Thresholded smooth noise: patches, camouflage, lichen."""
    noise = ndimage.gaussian_filter(
        rng.standard_normal((SIDE, SIDE)), rng.uniform(2, 9), mode="wrap"
    )
    return np.tanh(noise / noise.std() * rng.uniform(1, 6))


@cache
def library() -> np.ndarray:
    """`COUNT SIDE SIDE` float32 in [0, 1]; the same on every machine and in every process."""
    kinds = (power_law, power_law, oriented, stripes, cells, spots)
    rngs = [np.random.default_rng([LIBRARY_SEED, i]) for i in range(COUNT)]
    return np.stack([_unit(kinds[i % len(kinds)](rng)) for i, rng in enumerate(rngs)])


def cut(rng: np.random.Generator, size: int) -> np.ndarray:
    """A `size size` piece of a random texture, turned, mirrored and magnified at random."""
    texture = library()[rng.integers(COUNT)]
    zoom = rng.choice((1, 1, 1, 2, 3))
    span = -(-size // zoom)
    y, x = rng.integers(0, SIDE, 2)
    piece = np.take(
        np.take(texture, range(y, y + span), 0, mode="wrap"), range(x, x + span), 1, mode="wrap"
    )
    if zoom > 1:
        piece = ndimage.zoom(piece, zoom, order=1)[:size, :size]
    return np.rot90(piece, rng.integers(4))[:, :: rng.choice((-1, 1))]
