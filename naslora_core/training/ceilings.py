"""How well masks of the decoder's size can follow an outline at all, whatever a model has learnt.

A decoder draws logits `h h` (64 x 64 on `sam_nano`), which are enlarged linearly to the image's
own size. Both steps are one linear map a side, so every mask that a model can draw is
    A L B^T > 0,  A `H h`, B `W h`, L `h h`, any numbers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_core.data import tiles
from naslora_core.data.dataset import IGNORE
from naslora_core.data.transforms import filled
from naslora_core.training.metrics import iou

FITS, RATE = 100, 2.0  # steps of Adam on L, and their size
PIXELS = 2**20  # of a larger mask every k-th row and column is fitted, which can only raise it
LARGEST = 512  # pixels a side of a mask drawn in tiles: a part says what the whole would
IMAGES = 8  # that `mean_ceiling` fits


class Grid(NamedTuple):
    """Logits `side side` of a decoder, the model's input `size`, how images come to it, and the
    side of the tiles that are drawn one by one, None for whole images."""

    side: int
    size: int
    resize: str = "square"
    tile: int | None = None


def mask_side(sam) -> int:
    """Side of the masks that a SAM's decoder draws, pixels: 64 of sam_nano, 256 of vit_*."""
    return 4 * sam.prompt_encoder.image_embedding_size[0]


def grid_of(model) -> Grid:
    """The grid of a SAM, an adapted one or a U-Net, whose masks have its input's size."""
    sam = getattr(model, "sam", model)
    if not hasattr(sam, "prompt_encoder"):
        return Grid(model.image_size, model.image_size, getattr(model, "resize", "square"))
    how = getattr(model, "resize", "pad"), getattr(model, "tile", None)
    return Grid(mask_side(sam), sam.image_encoder.img_size, *how)


def ceiling(mask: np.ndarray, grid: Grid) -> float:
    """The best IoU with a boolean mask `H W` found among the masks that `grid` can draw.

    L is fitted by cross-entropy and a soft IoU. Of a mask that some L draws exactly, the fit finds
    .98 or more: that is how far a model could pass it.
    """
    if not mask.any():
        return 1.0
    if grid.tile:
        mask, step = _part(mask), 1
    else:
        step = -(-max(mask.shape) // int(PIXELS**0.5))
    sides = filled(mask.shape, grid.size, grid.resize)
    A, B = (enlarging(grid, *pair)[::step] for pair in zip(sides, mask.shape, strict=True))
    return _fit(torch.from_numpy(mask[::step, ::step]), A, B)


def _part(mask: np.ndarray) -> np.ndarray:
    """A window of at most LARGEST pixels a side around the middle object pixel."""
    where = np.flatnonzero(mask)
    middle = divmod(int(where[len(where) // 2]), mask.shape[1])
    pairs = zip(middle, mask.shape, strict=True)
    top, left = (int(np.clip(m - LARGEST // 2, 0, max(0, n - LARGEST))) for m, n in pairs)
    return np.ascontiguousarray(mask[top : top + LARGEST, left : left + LARGEST])


def _fit(truth: Tensor, A: Tensor, B: Tensor) -> float:
    target, best = truth.float(), 0.0
    # L begins as the share of the mask that each number of it reaches
    L = (8 * (A.T @ target @ B) / (A.sum(0)[:, None] * B.sum(0) + 1e-6) - 4).requires_grad_()
    adam = torch.optim.Adam([L], RATE)
    for fit in range(FITS):
        logits = A @ L @ B.T
        if fit % 10 == 0 or fit == FITS - 1:
            best = max(best, iou((logits > 0).numpy(), truth.numpy()))
        p = logits.sigmoid()
        overlap = (p * target).sum() / (p + target - p * target).sum()
        adam.zero_grad()
        (F.binary_cross_entropy_with_logits(logits, target) - overlap).backward()
        adam.step()
    return best


def enlarging(grid: Grid, part: int, length: int) -> Tensor:
    """`length side`: logits of one side enlarged to the input, of which `part` pixels show the
    image, and those to the image's own length. With tiles, `length tiles*side`: the logits of all
    tiles of an axis, blended."""
    if not grid.tile:
        return linear(part, length) @ linear(grid.side, grid.size)[:part]
    one = linear(grid.size, grid.tile) @ linear(grid.side, grid.size)
    shares, begins = tiles.shares(length, grid.tile), tiles.starts(length, grid.tile)
    blocks = [torch.zeros(length, grid.side) for _ in begins]
    for block, share, start in zip(blocks, torch.from_numpy(shares), begins, strict=True):
        held = share[start : start + grid.tile, None]
        block[start : start + len(held)] = held * one[: len(held)]
    return torch.cat(blocks, 1)


def linear(few: int, many: int) -> Tensor:
    """Linear interpolation of `few` numbers to `many`, as `many few`."""
    if few == many:
        return torch.eye(few)
    return F.interpolate(torch.eye(few)[None], many, mode="linear", align_corners=False)[0].T


def mean_ceiling(samples: Sequence, grid: Grid) -> float:
    """Mean `ceiling` over the classes of the first IMAGES samples, 1 where none shows any."""
    found = []
    for i in range(min(IMAGES, len(samples))):
        mask = samples[i].mask
        found += [ceiling(mask == c, grid) for c in np.unique(mask[(mask > 0) & (mask != IGNORE)])]
    return float(np.mean(found)) if found else 1.0


def shrunk_iou(mask: np.ndarray, side: int, square: bool = False) -> float:
    """IoU with itself of the mask shrunk to `side` pixels along the longer side, then enlarged:
    quick, but no bound, because logits may place an edge between two of those pixels.

    square: drawn as `side x side`, as models do that squeeze images (`resize="square"`).
    """
    full = torch.from_numpy(mask)[None, None].float()
    longest = (max(mask.shape),) * 2 if not square else mask.shape
    small = [max(1, round(side * n / m)) for n, m in zip(mask.shape, longest, strict=True)]
    low = F.interpolate(full, small, mode="area")
    again = F.interpolate(low, mask.shape, mode="bilinear", align_corners=False)[0, 0] > 0.5
    return iou(again.numpy(), mask)
