"""Boxes and clicks that a person would draw for a mask, and the objects that a mask holds."""

import numpy as np
from scipy import ndimage

LEAST_SHARE = 0.002  # of the image: smaller components are no objects


def box_of(mask: np.ndarray) -> np.ndarray:
    """The tight box of a mask `H W` as x0 y0 x1 y1, first and last pixel (inclusive), float32."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([xs[0], ys[0], xs[-1], ys[-1]], np.float32)


def centre_click(mask: np.ndarray) -> np.ndarray:
    """x, y of the pixel farthest from the mask's border: where SAM's authors click to evaluate."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return np.array([x, y], np.float32)


def components(mask: np.ndarray, least: float = LEAST_SHARE) -> list[np.ndarray]:
    """The connected components of a mask `H W` that fill at least this share of the image."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    return [labels == i for i in range(1, count + 1) if sizes[i] >= least * mask.size]
