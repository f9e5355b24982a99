"""Pictures of two splits that are nearly the same: a test set that the training has seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from PIL import Image
from scipy.fft import dctn

SIDE, KEPT = 32, 8
# Development images alone (kvasir_polyp, cwfid_cropweed) bear these out: a test holds that copies,
# resized, recompressed or dimmed, lie within both, and no other pair does.
NEAR = 6  # bits of 64
ALIKE = 0.9  # correlation


@dataclass(frozen=True)
class Print:
    """Of one picture: signs `64` (-1, 1) of its lowest frequencies, and its grey values at 32 x 32,
    `1024` with mean 0 and norm 1."""

    signs: np.ndarray
    grey: np.ndarray


def print_of(image: np.ndarray) -> Print:
    """The perceptual hash of an image `H W 3`: which low frequencies exceed their median.

    Size, brightness, contrast and compression hardly move it; flips and turns do.
    """
    grey = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, np.float32)
    low = dctn(values, norm="ortho")[:KEPT, :KEPT].ravel()
    signs = np.where(low > np.median(low[1:]), 1, -1)  # low[0] is the brightness
    centred = values.ravel() - values.mean()
    return Print(signs.astype(np.float32), centred / max(np.linalg.norm(centred), 1e-9))


def near_pairs(prints: Mapping[str, Mapping[str, Print]], near: int = NEAR) -> list[str]:
    """The pairs across splits (split -> name -> print) that differ in `near` bits or fewer and
    whose greys correlate to 0.9 or more, as "split/name ~ split/name", the nearest first.

    Nothing here is proof: look at them.
    """
    pairs = []
    for a, b in combinations([split for split in prints if prints[split]], 2):
        signs = np.stack([one.signs for one in prints[b].values()])
        greys = np.stack([one.grey for one in prints[b].values()])
        names = list(prints[b])
        for name, one in prints[a].items():
            # Hamming distance of two vectors of signs: (64 - u . v) / 2
            bits, alike = (KEPT**2 - signs @ one.signs) / 2, greys @ one.grey
            for i in np.flatnonzero((bits <= near) & (alike >= ALIKE)):
                pairs.append((bits[i], -alike[i], f"{a}/{name} ~ {b}/{names[i]}"))
    return [pair for *_, pair in sorted(pairs)]
