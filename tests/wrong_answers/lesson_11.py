"""Wrong answers of lesson 11."""

import copy

import torch

from naslora_workbook.lessons.exercises.lesson_11 import fate
from wrong_answers import Wrong


def folded_tap(W0, We, Wd, K, s):
    c, rest = K.shape[-1] // 2, K.clone()
    rest[..., c, c] = 0
    return W0 + s * Wd @ K[..., c, c] @ We, rest


def scale_forgotten(W0, We, Wd, K, s):
    return folded_tap(W0, We, Wd, K, 1)


def counted_twice(W0, We, Wd, K, s):
    return folded_tap(W0, We, Wd, K, s)[0], K


def in_place(W0, We, Wd, K, s):
    weight, _ = folded_tap(W0, We, Wd, K, s)
    K[..., K.shape[-1] // 2, K.shape[-1] // 2] = 0
    return weight, K


def the_corner(W0, We, Wd, K, s):
    rest = K.clone()
    rest[..., 1, 1] = 0  # right for 3 x 3 alone
    return W0 + s * Wd @ K[..., 1, 1] @ We, rest


def nothing_stays(W0, We, Wd, K, s):
    return folded_tap(W0, We, Wd, K, s)[0], torch.zeros_like(K)


def by_a_change(layer, x, at, change):
    changed = x.clone()
    changed[:, at, at] += change
    moved = (layer(changed) - layer(x)).abs().amax((0, 3)) > 1e-6
    moved[at, at] = False
    return "a side branch" if moved.any() else "everything"


def by_doubling(layer, x):
    zero = layer(torch.zeros_like(x))
    linear = torch.allclose(layer(2 * x) + zero, 2 * layer(x), atol=1e-6)
    return by_a_change(layer, x, 3, torch.randn_like(x[:, 3, 3])) if linear else "nothing"


def by_a_factor(layer, x):
    zero = layer(torch.zeros_like(x))
    scales = torch.allclose(layer(-2 * x) - zero, -2 * (layer(x) - zero), atol=1e-6)
    return by_a_change(layer, x, 3, torch.randn_like(x[:, 3, 3])) if scales else "nothing"


def by_a_constant(layer, x):
    return "nothing" if fate(layer, x) == "nothing" else by_a_change(layer, x, 3, 1)


def by_a_corner(layer, x):
    if fate(layer, x) == "nothing":
        return "nothing"
    return by_a_change(layer, x, 0, torch.randn_like(x[:, 0, 0]))


def by_a_flat_map(layer, x):
    if fate(layer, x) == "nothing":
        return "nothing"
    flat = torch.ones_like(x)
    same = torch.allclose(layer(flat[:, :1, :1]), layer(flat)[:, 3:4, 3:4], atol=1e-6)
    return "everything" if same else "a side branch"


def by_a_shift(layer, x):
    """Add one constant to the whole map, and look whether the output moves by W 1."""
    if fate(layer, x) == "nothing":
        return "nothing"
    moved = layer(x + 1) - layer(x)
    same = torch.allclose(moved, moved[:, :1, :1].expand_as(moved), atol=1e-6)
    return "everything" if same else "a side branch"


def hasty(layer, folded, x):
    return (layer(x) - folded(x)).abs().max()


def left_in_eval(layer, folded, x):
    return hasty(layer.eval(), folded, x)


def always_training(layer, folded, x):
    gap = left_in_eval(layer, folded, x)
    layer.train()
    return gap


def generous(layer, folded, x):
    gap = hasty(copy.deepcopy(layer).eval(), folded, x)
    return gap if gap > 1000 else 0.0


WRONG = [
    Wrong("11.1", "without the scale", "scale s is missing", (scale_forgotten,)),
    Wrong("11.1", "the tap counted twice", "counts twice", (counted_twice,)),
    Wrong("11.1", "K changed", "You changed K", (in_place,)),
    Wrong("11.1", "tap (1, 1)", "3 x 3 only", (the_corner,)),
    Wrong("11.1", "all of K removed", "more than its centre", (nothing_stays,)),
    Wrong("11.2", "linear by doubling", "not linear", (by_doubling,)),
    Wrong("11.2", "linear by a factor", "not linear", (by_a_factor,)),
    Wrong("11.2", "a constant change", "constant change is not", (by_a_constant,)),
    Wrong("11.2", "a token in a corner", "corner is not enough", (by_a_corner,)),
    Wrong("11.2", "a flat map", "flat map is not enough", (by_a_flat_map,)),
    Wrong("11.2", "the whole map shifted", "sum to zero", (by_a_shift,)),
    Wrong("11.3", "train mode", "in eval mode", (hasty,)),
    Wrong("11.3", "left in eval mode", "stayed in eval mode", (left_in_eval,)),
    Wrong("11.3", "always train mode", "always return to train mode", (always_training,)),
    Wrong("11.3", "a raised tolerance", "do not raise the tolerance", (generous,)),
]
