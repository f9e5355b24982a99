"""Exercises of lesson 01: windows, what they save, and clicks that hit."""

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import (
    Attention,
    window_partition,
    window_unpartition,
)
from torch.utils.flop_counter import FlopCounterMode

from naslora_workbook.lessons import checks
from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import integers, normal


def maps(rng: np.random.Generator) -> torch.Tensor:
    """Random tokens `B H W C`."""
    return normal(rng, *integers(rng, (1, 3), (4, 13), (4, 13), (1, 4)))


def padded(x, window):
    """A map `B H W C` with zeros up to multiples of the window."""
    return F.pad(x, (0, 0, 0, -x.shape[2] % window, 0, -x.shape[1] % window))


def scrambled_cut(x, window):
    """Windows without the `permute`: the right shape, tokens in the wrong places."""
    return padded(x, window).reshape(-1, window, window, x.shape[-1])


def scrambled_restore(windows, window, height, width):
    """The way back without the `permute`."""
    rows, columns = -(-height // window), -(-width // window)
    x = windows.reshape(-1, rows * window, columns * window, windows.shape[-1])
    return x[:, :height, :width]


def windows_of(x, window):
    """The reference of 1.1: SAM's windows of a map `B H W C`."""
    return window_partition(x, window)[0]


def map_of(windows, window, height, width):
    """The reference of 1.1: the map of SAM's windows."""
    padded = [n + -n % window for n in (height, width)]
    return window_unpartition(windows, window, padded, (height, width))


def _there_and_back(cut_and_restore, x, window) -> list:
    cut, restore = cut_and_restore
    windows = _shape_and_maps(cut(x.clone(), window))
    return [*windows, *_shape_and_maps(restore(windows_of(x, window), window, *x.shape[1:3]))]


def _shape_and_maps(x) -> list:
    """The shape in words, and `N H W C` as maps `C N H W`, which can be drawn."""
    return [str(tuple(x.shape)), x.movedim(-1, 0)] if x is not None else [None, None]


def ex_1_1(cut, restore):
    """Cut into windows, and restore"""
    return checks.check(
        "1.1",
        (cut, restore),
        (windows_of, map_of),
        lambda rng: (maps(rng), *integers(rng, (2, 8))),
        seen=_there_and_back,
        scrambled_windows=(scrambled_cut, restore),
        scrambled_map=(cut, scrambled_restore),
    )


def _counted(side: int, window: int, dim: int) -> int:
    """Multiply-adds of the batched products in SAM's attention, counted without computing."""
    with torch.device("meta"):
        attention, x = Attention(dim, dim // 64), torch.empty(1, side, side, dim)
    x = windows_of(x, window) if window else x
    with FlopCounterMode(display=False) as counter:
        attention(x)
    return counter.get_flop_counts()["Global"][torch.ops.aten.bmm] // 2


def _unpadded(side: int, window: int, dim: int) -> int:
    window = window or side
    return int((side / window) ** 2 * 2 * window**4 * dim)


@exercise(
    "Count what windows save",
    _counted,
    one_product=lambda *given: _counted(*given) // 2,
    flops=lambda *given: _counted(*given) * 2,
    windows_rounded_down=_unpadded,
)
def ex_1_2():
    cases = [(64, 0, 768), (64, 14, 768)]
    for rng in map(np.random.default_rng, range(4)):
        side, heads = integers(rng, (8, 65), (1, 13))
        cases.append((side, int(rng.choice([0, 7, 8, 14])), 64 * heads))
    return cases


def _centre(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(0)[::-1]


@exercise(
    "Clicks that miss",
    _centre,
    tolerance=1e-2,
    row_first=lambda mask: _centre(mask)[::-1],
    corner=lambda mask: np.argwhere(mask).min(0)[::-1],
)
def ex_1_3(rng):
    (height, width), radius = rng.integers(60, 160, 2), rng.uniform(8, 20)
    cy, cx = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
    y, x = np.ogrid[:height, :width]
    return (np.hypot(y - cy, x - cx) < radius,)
