"""Exercises of lesson 01: windows, what they save, and clicks that hit."""

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from naslora_workbook.lessons import checks


def ex_1_1(cut, restore):
    """Cut into windows, and restore"""
    from segment_anything.modeling.image_encoder import window_partition

    def case(rng):
        b, h, w, c = (
            int(rng.integers(low, high)) for low, high in ((1, 3), (4, 13), (4, 13), (1, 4))
        )
        return torch.from_numpy(rng.normal(size=(b, h, w, c))), int(rng.integers(2, 8))

    def answer(x, window):
        windows = _shape_and_maps(cut(x.clone(), window))
        theirs = window_partition(x, window)[0]
        return [*windows, *_shape_and_maps(restore(theirs, window, *x.shape[1:3]))]

    def reference(x, window):
        return [*_shape_and_maps(window_partition(x, window)[0]), *_shape_and_maps(x)]

    return checks.check(
        "1.1",
        answer,
        reference,
        case,
        hint="The windows are compared with SAM's own, then what you restore from SAM's windows.",
        proves="Your windows are SAM's, and no token is lost on the way there and back.",
    )


def _shape_and_maps(x):
    """The shape in words, and `N H W C` as maps `C N H W`, which can be drawn."""
    return [str(tuple(x.shape)), x.movedim(-1, 0)] if x is not None else [None, None]


def ex_1_2(answer):
    """Count what windows save"""

    def case(rng):
        side, heads = int(rng.integers(8, 65)), int(rng.integers(1, 13))
        return side, int(rng.choice([0, 7, 8, 14])), 64 * heads

    return checks.check(
        "1.2",
        answer,
        _counted,
        [(64, 0, 768), (64, 14, 768), *(case(np.random.default_rng(i)) for i in range(4))],
        hint="Mind three things: the window 0, padding, and that there are two products.",
        proves="Your formula equals a count of segment_anything's own attention, operation by "
        "operation.",
    )


def _counted(side: int, window: int, dim: int) -> int:
    """Multiply-adds of the batched products in SAM's attention, counted without computing."""
    from segment_anything.modeling.image_encoder import Attention, window_partition

    with torch.device("meta"):
        attention, x = Attention(dim, dim // 64), torch.empty(1, side, side, dim)
    x = window_partition(x, window)[0] if window else x
    with FlopCounterMode(display=False) as counter:
        attention(x)
    return counter.get_flop_counts()["Global"][torch.ops.aten.bmm] // 2


def ex_1_3(answer):
    """Clicks that miss"""

    def case(rng):
        (height, width), radius = rng.integers(60, 160, 2), rng.uniform(8, 20)
        cy, cx = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
        y, x = np.ogrid[:height, :width]
        return (np.hypot(y - cy, x - cx) < radius,)

    def reference(mask):
        rows, columns = np.nonzero(mask)
        return np.array([columns.mean(), rows.mean()])

    return checks.check(
        "1.3",
        answer,
        reference,
        case,
        hint="SAM wants x, which runs along the columns, before y.",
        proves="Your clicks hit, wherever the object lies.",
        tolerance=1e-2,
    )
