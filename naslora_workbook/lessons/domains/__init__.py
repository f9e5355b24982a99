"""Five specialised domains, drawn: the embedded data of the workbook.

A sample is a function of (seed, split, index) alone, so any picture can be drawn again by itself
and no two splits share one.
"""

from functools import partial

import numpy as np

from naslora_core.data import DOMAINS as REGISTERED
from naslora_core.data import Dataset, Sample, Split
from naslora_core.errors import UserError, known
from naslora_workbook.lessons.domains import camouflage, cropweed, leaf, polyp, vessel

SPLITS = {"train": 0, "val": 1, "test": 2}


# each has CLASSES and draw(rng, size) -> image `S S 3` and its class ids `S S`, both uint8
DOMAINS = {
    module.__name__.rsplit(".", 1)[-1]: module
    for module in (polyp, vessel, leaf, camouflage, cropweed)
}


def domain(
    name: str, train: int = 64, val: int = 16, test: int = 32, size: int = 128, seed: int = 0
) -> Dataset:
    """A procedural domain with so many images a split, `size` pixels square.

    Raises UserError for an unknown name, a negative count or a size below 32.
    """
    known(name, DOMAINS, "There is no domain")
    counts = {"train": train, "val": val, "test": test}
    for what, value, least in (*((k, v, 0) for k, v in counts.items()), ("size", size, 32)):
        if value < least:
            raise UserError(f"{what} is {value}; expected {least} or more.")
    return drawn(name, DOMAINS[name], counts, size, seed)


def drawn(name: str, painter, counts: dict[str, int], size: int, seed: int = 0) -> Dataset:
    """The images of a painter, a module with CLASSES and draw, so many a split."""

    def read(key: tuple[str, int]) -> Sample:
        split, index = key
        image, mask = painter.draw(np.random.default_rng([seed, SPLITS[split], index]), size)
        return Sample(image, mask, f"{name}_{split}_{index:04d}")

    parts = (Split(read, [(split, i) for i in range(n)]) for split, n in counts.items())
    return Dataset(name, painter.CLASSES, *parts)


# `naslora_core.data.open_data` finds them by name, as large as the laptop's profile has them
REGISTERED.update(dict.fromkeys(DOMAINS, partial(domain, train=256, val=48, test=64)))
