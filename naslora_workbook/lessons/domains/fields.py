"""What every domain is drawn with: fields `S S` over the unit square, y down, x right."""

from functools import cache

import numpy as np
from scipy import ndimage

Rng = np.random.Generator


@cache
def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """y `S 1` and x `1 S` of the pixel centres, in 0..1."""
    line = (np.arange(size) + 0.5) / size
    return line[:, None], line[None, :]


@cache
def _bumps(size: int, cells: int) -> np.ndarray:
    """`S cells+4`: Gaussian bumps on an even row of knots, each pixel's weights of unit length."""
    knots = (np.arange(cells + 4) - 1.5) / cells
    weights = np.exp(-0.5 * ((grid(size)[0] - knots) * cells / 0.7) ** 2)
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def noise(rng: Rng, size: int, cells: int) -> np.ndarray:
    """Smooth noise `S S`, mean 0, variance 1, about `cells` bumps a side.

    The coarse values do not depend on `size`: a larger picture shows the same field.
    """
    bumps = _bumps(size, cells)
    return bumps @ rng.standard_normal((bumps.shape[1],) * 2) @ bumps.T


def fractal(rng: Rng, size: int, cells: int = 3, octaves: int = 4, fall: float = 0.6) -> np.ndarray:
    """Octaves of noise, each twice as fine and `fall` times as strong; variance 1."""
    gains = fall ** np.arange(octaves)
    layers = (g * noise(rng, size, cells * 2**i) for i, g in enumerate(gains))
    return sum(layers) / np.linalg.norm(gains)


def window(size: int, centre, reach: float) -> tuple[slice, slice]:
    """The part of the picture within `reach` of `centre` (y, x)."""
    low = (int(min(max(c - reach, 0), 1) * size) for c in centre)
    high = (int(min(max(c + reach, 0), 1) * size) + 1 for c in centre)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def blob(rng: Rng, size: int, centre, radius: float, wave: float = 0.15, flat: float = 1.0):
    """Height `S S` of a wavy ellipse: 1 at its centre, 0 on its outline, down to -1 around it.

    centre: (y, x); radius: share of the side; wave: roughness of the outline; flat: its least
    ratio of axes.
    """
    (y, x), turn = grid(size), rng.uniform(0, 2 * np.pi)
    part = window(size, centre, 2 * radius)
    dy, dx = y[part[0]] - centre[0], x[:, part[1]] - centre[1]
    u, v = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    v = v / rng.uniform(flat, 1.0)
    theta, away, waves = np.arctan2(v, u), np.hypot(u, v) / radius, 0.0
    for k in (2, 3, 4, 5):
        waves = waves + rng.normal(0, wave / k) * np.cos(k * theta + rng.uniform(0, 7))
    waves = waves * np.minimum(away, 1) ** 2  # the outline's lobes end before the centre
    height = np.full((size, size), -1.0)
    height[part] = np.maximum(1 - away / np.maximum(1 + waves, 0.3), -1)
    return height


def cover(field: np.ndarray, softness: float) -> np.ndarray:
    """Coverage in 0..1 of where a field is positive, rising over `softness` of its own units."""
    return np.clip(field / softness + 0.5, 0, 1)


def lay(image: np.ndarray, colour, share: np.ndarray) -> None:
    """Blend a colour (or a picture `S S 3`) over the image in place, by coverage `S S`."""
    rows, columns = (np.flatnonzero(share.any(axis)) for axis in (1, 0))
    if rows.size:
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        paint = colour[part] if np.ndim(colour) == 3 else colour
        image[part] += share[part][..., None] * (paint - image[part])


def slopes(height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes down y and along x of a relief over the unit square."""
    size = len(height)
    dy, dx = np.gradient(height)
    return dy * size, dx * size


def stamp(size: int, points: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Coverage `S S` of round brush marks at `points` (`N 2` as y, x) of `radii` (`N`)."""
    near = (np.abs(points - 0.5) < 0.55).all(1)
    points, radii = points[near] * size - 0.5, radii[near] * size
    if not len(points):
        return np.zeros((size, size))
    reach = int(np.ceil(radii.max())) + 1
    step = np.arange(-reach, reach + 1)
    at = np.round(points).astype(int)
    y, x = at[:, 0, None, None] + step[:, None], at[:, 1, None, None] + step
    away = np.hypot(y - points[:, 0, None, None], x - points[:, 1, None, None])
    share = np.clip(radii[:, None, None] - away + 0.5, 0, 1)
    y, x = np.broadcast_arrays(y, x)
    seen = (share > 0) & (y >= 0) & (y < size) & (x >= 0) & (x < size)
    canvas = np.zeros((size, size))
    np.maximum.at(canvas, (y[seen], x[seen]), share[seen])
    return canvas


def places(rng: Rng, where: np.ndarray, count: int) -> np.ndarray:
    """`count` random points (`N 2` as y, x) of a region `S S` bool."""
    inside = np.argwhere(where)
    return (inside[(rng.random(count) * len(inside)).astype(int)] + 0.5) / len(where)


def camera(rng: Rng, image: np.ndarray, blur: float = 0.5, grain: float = 0.02) -> np.ndarray:
    """Lens, exposure, colour cast and grain: float `S S 3` about 0..1 to uint8.

    blur is in pixels of a picture of side 128.
    """
    soft = blur * len(image) / 128 * rng.uniform(0.7, 1.3)
    image = ndimage.gaussian_filter(image, (soft, soft, 0), truncate=2.5)
    image = image * rng.normal(1, 0.08) * rng.normal(1, 0.03, 3)
    image = image + rng.normal(0, grain, image.shape)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
