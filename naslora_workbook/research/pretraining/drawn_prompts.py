"""Prompts that pre-training draws: boxes and clicks as exact, or as loose, as people's."""

import numpy as np

from naslora_core.training.prompts import box_of, centre_click


def loose_box(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """The box with every side moved by a normal error of 5 % of the box (at most 20 pixels)."""
    box = box_of(mask)
    side = np.tile(box[2:] - box[:2] + 1, 2)
    return box + np.clip(rng.normal(0, 0.05, 4) * side, -20, 20).astype(np.float32)


def random_click(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """x, y of a uniformly random pixel of a mask."""
    where = np.flatnonzero(mask)
    y, x = divmod(where[rng.integers(len(where))], mask.shape[1])
    return np.array([x, y], np.float32)


def drawn_box(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """As people and benchmarks draw: half of the boxes tight, half loose."""
    return box_of(mask) if rng.random() < 0.5 else loose_box(rng, mask)


def drawn_click(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """As people click: half of the clicks in the middle of the mask, half anywhere on it."""
    return centre_click(mask) if rng.random() < 0.5 else random_click(rng, mask)


def correction_click(rng: np.random.Generator, guess: np.ndarray, truth: np.ndarray):
    """A random pixel where guess and truth differ, and its label (1: missed, 0: too much)."""
    wrong = guess != truth
    click = random_click(rng, wrong if wrong.any() else truth)
    x, y = click.astype(int)
    return click, int(truth[y, x])
