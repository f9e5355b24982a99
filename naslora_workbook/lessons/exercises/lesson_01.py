"""Exercises of lesson 01: windows, what they save, and clicks that hit."""

import numpy as np
import torch
import torch.nn.functional as F
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

    def answer_with(cut, restore, x, window):
        windows = _shape_and_maps(cut(x.clone(), window))
        theirs = window_partition(x, window)[0]
        return [*windows, *_shape_and_maps(restore(theirs, window, *x.shape[1:3]))]

    def answer(x, window):
        return answer_with(cut, restore, x, window)

    def reference(x, window):
        return [*_shape_and_maps(window_partition(x, window)[0]), *_shape_and_maps(x)]

    return checks.check(
        "1.1",
        answer,
        reference,
        case,
        hint="Add zeros first where the map is no multiple of the window. The windows are compared "
        "with SAM's own, then what you restore from SAM's windows.",
        mistakes={
            "The windows have the right shape but are scrambled inside: bring both window counts "
            "before both window sides with `permute` before you merge them into the batch.": (
                lambda x, window: answer_with(scrambled_cut, restore, x, window)
            ),
            "The windows are SAM's, but what you restore is scrambled: `restore` needs the same "
            "`permute` as `cut`.": (
                lambda x, window: answer_with(cut, scrambled_restore, x, window)
            ),
        },
        proves="Your windows are SAM's, and no token is lost on the way there and back.",
    )


def scrambled_cut(x, window):
    """Windows without the `permute`: the right shape, tokens in the wrong places."""
    x = F.pad(x, (0, 0, 0, -x.shape[2] % window, 0, -x.shape[1] % window))
    return x.reshape(-1, window, window, x.shape[-1])


def scrambled_restore(windows, window, height, width):
    """The way back without the `permute`."""
    rows, columns = -(-height // window), -(-width // window)
    x = windows.reshape(-1, rows * window, columns * window, windows.shape[-1])
    return x[:, :height, :width]


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
        hint="Mind three things: window 0 means the whole map, padded tokens count too, and there "
        "are two products.",
        mistakes={
            "You counted one of the two products.": lambda *given: _counted(*given) // 2,
            "You counted multiplications and additions apart; a multiply-add is one.": (
                lambda *given: _counted(*given) * 2
            ),
            "Round the number of windows up: padded tokens are multiplied as well.": (
                lambda side, window, dim: int(
                    (side / (window or side)) ** 2 * 2 * (window or side) ** 4 * dim
                )
            ),
        },
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
        hint="SAM expects x, the column, before y, the row.",
        mistakes={
            "This is (y, x). SAM expects x, the column, before y, the row.": (
                lambda mask: reference(mask)[::-1]
            ),
            "This is the upper left corner of the object's box: click at the centre.": (
                lambda mask: np.array([places.min() for places in np.nonzero(mask)[::-1]])
            ),
        },
        proves="Your clicks hit, wherever the object lies.",
        tolerance=1e-2,
    )
