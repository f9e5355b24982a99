"""A domain whose objects differ from their ground only in how neighbouring tokens go together.

Every token of `sam_nano` (8 pixels of 128) is light or dark, each equally often. In the ground the
tokens are independent; in an object they alternate like a chessboard, one in ten flipped. So one
token alone tells nothing, and an operator that compares neighbours tells most.
"""

import numpy as np
from scipy import ndimage

CLASSES = ("board",)
TOKENS, FLIPPED = 16, 0.1  # tokens a side; share of an object's tokens that break the alternation
DARK, LIGHT, GRAIN = 0.35, 0.65, 0.05


def draw(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image `S S 3` uint8 and mask `S S` uint8."""
    inside = _object(rng)
    ground = rng.random((TOKENS, TOKENS)) < 0.5
    board = np.indices((TOKENS, TOKENS)).sum(0) % 2 == rng.integers(2)
    board ^= rng.random((TOKENS, TOKENS)) < FLIPPED
    light = _enlarged(np.where(inside, board, ground), size)
    grey = np.where(light, LIGHT, DARK) + rng.normal(0, GRAIN, (size, size))
    image = np.repeat(np.clip(grey, 0, 1)[..., None], 3, 2)
    return (image * 255 + 0.5).astype(np.uint8), _enlarged(inside, size).astype(np.uint8)


def _object(rng: np.random.Generator) -> np.ndarray:
    """The largest connected part of smooth noise, a quarter of all tokens or less, `16 16` bool."""
    smooth = ndimage.gaussian_filter(rng.standard_normal((TOKENS, TOKENS)), 2.5, mode="wrap")
    parts, _ = ndimage.label(smooth > np.quantile(smooth, 0.75))
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1


def _enlarged(tokens: np.ndarray, size: int) -> np.ndarray:
    """Tokens `16 16` to pixels `S S`."""
    rows = np.arange(size) * TOKENS // size
    return tokens[rows[:, None], rows]
