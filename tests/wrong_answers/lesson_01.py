"""Wrong answers of lesson 01."""

import numpy as np
import torch.nn.functional as F

from naslora_workbook.lessons.exercises.lesson_01 import scrambled_cut, scrambled_restore
from wrong_answers import Wrong


def cut(x, window):
    x = F.pad(x, (0, 0, 0, -x.shape[2] % window, 0, -x.shape[1] % window))
    b, h, w, c = x.shape
    x = x.reshape(b, h // window, window, w // window, window, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window, window, c)


def cut_without_padding(x, window):
    b, h, w, c = x.shape
    x = x.reshape(b, h // window, window, w // window, window, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window, window, c)


def one_product(side, window, dim):
    window = window or side
    return (-(-side // window)) ** 2 * window**4 * dim


def without_padded_tokens(side, window, dim):
    window = window or side
    return int((side / window) ** 2 * 2 * window**4 * dim)


def flops(side, window, dim):
    return 4 * one_product(side, window, dim)


def rows_first(mask):
    rows, columns = np.nonzero(mask)
    return np.array([rows.mean(), columns.mean()])


def corner(mask):
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min()])


WRONG = [
    Wrong("1.1", "no permute in cut", "scrambled", (scrambled_cut, scrambled_restore)),
    Wrong("1.1", "no permute in restore", "restore", (cut, scrambled_restore)),
    Wrong("1.1", "no padding", "RuntimeError", (cut_without_padding, scrambled_restore)),
    Wrong("1.2", "one of two products", "one of the two", (one_product,)),
    Wrong("1.2", "padded tokens left out", "up", (without_padded_tokens,)),
    Wrong("1.2", "FLOPs instead of multiply-adds", "apart", (flops,)),
    Wrong("1.3", "rows before columns", r"\(y, x\)", (rows_first,)),
    Wrong("1.3", "a corner instead of the centre", "corner", (corner,)),
]
