"""Endless procedural scenes on which `sam_nano` learns what an object is.

A scene is a function of (seed, index) alone: the same on every machine, in any order. It mixes
occluding things, parts inside wholes, crowds of small touching objects, one large faint object,
and ends in the faults of a camera: blur, noise, colour casts.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from naslora_workbook.research.pretraining.scenes.painter import Painter, palette
from naslora_workbook.research.pretraining.scenes.shapes import thing

KINDS = {"things": 0.5, "parts": 0.15, "crowd": 0.2, "faint": 0.15}
LEAST_SHARE = 0.002  # the smallest visible mask, as a share of the image


@dataclass(frozen=True)
class Scene:
    """image: uint8 `S S 3`; masks: bool `N S S` of what is visible; kind: a key of KINDS."""

    image: np.ndarray
    masks: np.ndarray
    kind: str


def scene(seed: int, index: int, size: int = 128) -> Scene:
    """Scene number `index` of the stream `seed`; drawn again, with a new key, where it is empty."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, index, attempt])
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        painter = Painter(rng, size)
        _COMPOSERS[kind](rng, painter)
        masks = painter.masks(least=round(LEAST_SHARE * size * size))
        if masks:
            return Scene(_camera(rng, painter.image), np.stack(masks), kind)
    raise RuntimeError(f"scene {index} of seed {seed} stayed empty; widen LEAST_SHARE")


def _add(rng, painter: Painter, radius: float, colour, at=None, parent=0, sort="any") -> int:
    """One thing of about `radius` (share of the image side) at a random place."""
    side = max(8, round(radius * painter.size / 0.3))
    cover = thing(rng, side, sort)
    if rng.random() < 0.2:
        cover = ndimage.gaussian_filter(cover, rng.uniform(0.5, 2))  # a soft edge
    at = rng.uniform(0.05, 0.95, 2) if at is None else at
    return painter.paint(cover, np.round(at * painter.size - side / 2).astype(int), colour, parent)


def _near(rng, painter: Painter, spread: float) -> np.ndarray:
    """A colour close to the picture's mean: things that do not stand out by colour."""
    return painter.image.mean((0, 1)) + rng.normal(0, spread, 3)


def _things(rng, painter: Painter) -> None:
    for _ in range(rng.integers(2, 9)):
        colour = palette(rng) if rng.random() < 0.6 else _near(rng, painter, 0.12)
        _add(rng, painter, np.exp(rng.uniform(np.log(0.05), np.log(0.4))), colour)


def _parts(rng, painter: Painter) -> None:
    for _ in range(rng.integers(1, 4)):
        at, radius = rng.uniform(0.25, 0.75, 2), rng.uniform(0.18, 0.42)
        whole = _add(rng, painter, radius, palette(rng), at, sort="body")
        for _ in range(rng.integers(1, 5) if whole else 0):
            place = at + rng.uniform(-0.7, 0.7, 2) * radius
            _add(rng, painter, radius * rng.uniform(0.15, 0.5), palette(rng), place, whole)


def _crowd(rng, painter: Painter) -> None:
    """Many small things of one sort on a jittered grid, touching here and there."""
    spacing = rng.uniform(0.09, 0.22)
    colour = palette(rng)
    sort = str(rng.choice(("ellipse", "blob", "solid", "creature"), p=(0.4, 0.3, 0.2, 0.1)))
    steps = np.arange(spacing / 2, 1, spacing)
    for y in steps:
        for x in steps:
            if rng.random() < 0.75:
                at = np.array([y, x]) + rng.normal(0, 0.25 * spacing, 2)
                shade = colour + rng.normal(0, 0.04, 3)
                _add(rng, painter, spacing * rng.uniform(0.3, 0.62), shade, at, sort=sort)


def _faint(rng, painter: Painter) -> None:
    """One or two large things whose colour is almost the ground's, among small distractors."""
    for _ in range(rng.integers(1, 3)):
        at, colour = rng.uniform(0.2, 0.8, 2), _near(rng, painter, 0.07)
        _add(rng, painter, rng.uniform(0.12, 0.4), colour, at, sort="body")
    for _ in range(rng.integers(0, 8)):
        _add(rng, painter, rng.uniform(0.01, 0.06), palette(rng))


_COMPOSERS = {"things": _things, "parts": _parts, "crowd": _crowd, "faint": _faint}


def _camera(rng, image: np.ndarray) -> np.ndarray:
    """Light, colour cast, blur, noise: float `S S 3` around [0, 1] to uint8."""
    size = len(image)
    light = ndimage.zoom(rng.normal(1, rng.choice((0.05, 0.2)), (3, 3)), size / 3, order=1)
    image = image * light[:size, :size, None] * rng.normal(1, 0.1, 3) + rng.normal(0, 0.03, 3)
    if rng.random() < 0.4:
        image = ndimage.gaussian_filter(image, (*(rng.uniform(0.3, 1.2),) * 2, 0))
    if rng.random() < 0.1:
        image = np.repeat(image.mean(-1, keepdims=True), 3, -1)
    image = image + rng.normal(0, rng.choice((0, 0.02, 0.06)), image.shape)
    return (np.clip(image, 0, 1) ** rng.uniform(0.7, 1.4) * 255).astype(np.uint8)
