"""A small dataset for tests of training: bright squares on noise."""

import numpy as np

from naslora_core.data import Dataset, Sample


def squares(
    count: int, size: int = 128, seed: int = 0, classes: int = 1, name: str = "square"
) -> list[Sample]:
    """Images with one bright square of a random class."""
    found = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        image = rng.integers(0, 120, (size, size, 3), dtype=np.uint8)
        mask = np.zeros((size, size), np.uint8)
        y, x = rng.integers(0, size // 2, 2)
        label = int(rng.integers(1, classes + 1))
        mask[y : y + size // 3, x : x + size // 3] = label
        image[mask > 0] += np.uint8(60 + 40 * label)
        found.append(Sample(image, mask, f"{name}{i}"))
    return found


def tiny_data(count: int = 10, classes: int = 1) -> Dataset:
    """Ten squares to train on, four others to validate, and again four others to test."""
    names = tuple(f"c{i}" for i in range(classes))
    val, test = (squares(4, seed=i, classes=classes, name=n) for i, n in ((1, "val"), (2, "test")))
    return Dataset("squares", names, squares(count, classes=classes), val, test)
