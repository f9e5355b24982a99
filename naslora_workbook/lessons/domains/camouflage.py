"""Camouflage: an animal whose coat has the ground's colours, and runs another way.

Coat and ground are the same noise, turned or magnified, and hold exactly the same colours equally
often: a single pixel tells nothing, only how neighbours hang together. Shadows and sunlit spots as
large and as sharp as an animal, laid without regard to it, lead astray.
"""

import numpy as np
from scipy import ndimage

from naslora_workbook.lessons.domains.fields import blob, camera, cover, noise, places

CLASSES = ("animal",)
WAVELENGTH = 0.085  # of the side: longer than a token, so that one alone hardly knows the direction


def draw(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image `S S 3` uint8 and mask `S S` uint8."""
    animal = _animal(rng, size)
    turn, wave = rng.uniform(0, np.pi), WAVELENGTH * rng.uniform(0.9, 1.3)
    ground = weave(rng, size, turn, wave)
    if rng.random() < 0.7:
        coat = weave(rng, size, turn + rng.uniform(0.14, 0.28) * np.pi * rng.choice((-1, 1)), wave)
    else:
        coat = weave(rng, size, turn, wave * 0.72)
    tone = ndimage.gaussian_filter(np.where(animal, coat, ground), 0.004 * size)  # no cut edge
    for part in (animal, ~animal):
        tone[part] = _ranks(tone[part])
    image = _colours(rng, tone + 0.24 * noise(rng, size, 40))
    image *= _light(rng, size)[..., None]
    return camera(rng, image, 0, 0.025), animal.astype(np.uint8)


def weave(rng: np.random.Generator, size: int, turn: float, wavelength: float) -> np.ndarray:
    """Noise `S S` in a band about one wavelength (of the side) and one direction `turn`."""
    fy, fx = np.fft.fftfreq(size, 1 / size)[:, None], np.fft.rfftfreq(size, 1 / size)[None]
    f, off = np.hypot(fy, fx) + 1e-6, np.arctan2(fy, fx) - turn
    band = np.exp(-0.5 * (np.log2(f * wavelength) / 0.45) ** 2 - 0.5 * (np.sin(off) / 0.55) ** 2)
    return np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * band, (size, size))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Each value's rank in 0..1: whatever the field was, its histogram is flat now."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values)] = np.linspace(0, 1, len(values))
    return ranks


def _animal(rng, size: int) -> np.ndarray:
    """A body, and a head or limbs that grow out of it."""
    centre, radius = rng.uniform(0.15, 0.85, 2), rng.uniform(0.16, 0.28)
    whole = blob(rng, size, centre, radius, 0.25, 0.55)
    for place in places(rng, np.abs(whole - 0.2) < 0.15, rng.integers(1, 4)):
        part = radius * rng.uniform(0.3, 0.5)
        whole = np.maximum(whole, blob(rng, size, place, part, 0.1, 0.6))
    return whole > 0


def _light(rng, size: int) -> np.ndarray:
    """Broad light and shade, and outlines of shadow or sun over the same, unbroken texture."""
    light = 1 + 0.2 * np.tanh(2 * noise(rng, size, 3))
    for centre in rng.uniform(0, 1, (rng.integers(3, 6), 2)):
        spot = blob(rng, size, centre, rng.uniform(0.1, 0.24), 0.3, 0.55)
        light *= 1 + rng.uniform(0.2, 0.4) * rng.choice((-1, 1)) * cover(spot, 0.12)
    return light


def _colours(rng, tone: np.ndarray) -> np.ndarray:
    """One habitat from its shadows to its lights: bark and sand, or moss and grass."""
    earth, moss = np.array([0.5, 0.39, 0.25]), np.array([0.36, 0.43, 0.2])
    base = earth + rng.random() * (moss - earth)
    ramps = [level * base * rng.normal(1, 0.08, 3) for level in (0.35, 0.9, 1.6)]
    return np.stack([np.interp(tone, (0, 0.5, 1), ramp) for ramp in np.transpose(ramps)], -1)
