"""Lay textured, shaded things over one another and remember which one is on top where.

Surfaces are cut from a fixed library of grey textures, then turned and coloured.
"""

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


def palette(rng: np.random.Generator) -> np.ndarray:
    """One RGB colour in [0, 1]: grey-ish as often as vivid, as in photographs."""
    grey = rng.uniform(0.05, 0.95)
    return np.clip(grey + rng.normal(0, rng.choice((0.04, 0.12, 0.3)), 3), 0.02, 0.98)


def surface(rng: np.random.Generator, size: int, colour: np.ndarray) -> np.ndarray:
    """`size size 3` of one material: its colour moved along one direction by a texture."""
    texture = cut(rng, size)[..., None] - 0.5
    contrast = rng.choice((0.05, 0.15, 0.35, 0.6))
    direction = np.clip(rng.normal(1, rng.choice((0.1, 0.6)), 3), -1.5, 1.5)
    return colour + contrast * texture * direction


def relief(rng: np.random.Generator, cover: np.ndarray) -> np.ndarray:
    """Light on a rounded body, `s s` around 0: the slope of its blurred coverage."""
    height = ndimage.gaussian_filter(cover, rng.uniform(0.04, 0.16) * len(cover))
    dy, dx = np.gradient(height)
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * dx + np.sin(angle) * dy
    return slope / (np.abs(slope).max() + 1e-6) * rng.uniform(0.05, 0.4)


class Painter:
    """An image `S S 3`, the index of the thing on top `S S` (0 is the ground), and parents."""

    def __init__(self, rng: np.random.Generator, size: int):
        self.rng, self.size = rng, size
        self.image = surface(rng, size, palette(rng)) + self._gradient(rng.choice((0, 0.1, 0.3)))
        self.top = np.zeros((size, size), np.int32)
        self.parent = [0]

    def _gradient(self, strength: float) -> np.ndarray:
        line, angle = np.linspace(-1, 1, self.size), self.rng.uniform(0, 2 * np.pi)
        field = np.cos(angle) * line[None] + np.sin(angle) * line[:, None]
        return (strength * field)[..., None]

    def paint(self, cover: np.ndarray, corner, colour, parent: int = 0) -> int:
        """Lay `cover` (`s s`, coverage) with its upper left at `corner` (y, x); its new index."""
        here, part = self._overlap(cover.shape[0], corner)
        if here is None:
            return 0
        material = self._material(cover, colour)[part]
        cover = cover[part] * (self.top[here] == parent) if parent else cover[part]
        self._shadow(cover, here)
        self.image[here] += cover[..., None] * (material - self.image[here])
        self.parent.append(parent)
        self.top[here][cover > 0.5] = len(self.parent) - 1
        return len(self.parent) - 1

    def _material(self, cover: np.ndarray, colour: np.ndarray) -> np.ndarray:
        material = surface(self.rng, len(cover), colour)
        if self.rng.random() < 0.5:
            material = material + relief(self.rng, cover)[..., None]
        if self.rng.random() < 0.25:  # a darker or lighter rim
            inner = ndimage.gaussian_filter(cover, 1.2)
            material = material + (self.rng.choice((-0.5, 0.4)) * (1 - inner))[..., None]
        return material

    def _shadow(self, cover: np.ndarray, here) -> None:
        if self.rng.random() < 0.2:
            dark = ndimage.shift(
                ndimage.gaussian_filter(cover, 2), self.rng.uniform(-4, 4, 2), order=0
            )
            self.image[here] *= 1 - 0.5 * dark[..., None]

    def _overlap(self, side: int, corner):
        """Slices of the image and of the thing where both exist, or None."""
        low = np.maximum(corner, 0)
        high = np.minimum(np.add(corner, side), self.size)
        if (high - low < 4).any():
            return None, None
        here = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        part = tuple(slice(a - c, b - c) for a, b, c in zip(low, high, corner, strict=True))
        return here, part

    def masks(self, least: int) -> list[np.ndarray]:
        """Visible masks of at least `least` pixels: every thing, and every whole with its parts."""
        parent, found = np.array(self.parent), []
        for i in range(1, len(parent)):
            found.append(self.top == i)
            if (parent == i).any():
                found.append(found[-1] | np.isin(self.top, np.flatnonzero(parent == i)))
        return [m for m in found if m.sum() >= least]
