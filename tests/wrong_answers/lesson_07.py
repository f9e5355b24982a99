"""Wrong answers of lesson 07."""

import torch
import torch.nn.functional as F

from naslora_workbook.lessons.exercises.lesson_07 import reference_alarm
from wrong_answers import Wrong


def mixed(kernels, weights, before=0.5):
    """The answer of 7.1; before: share of the missing taps that stand before the kernel."""
    side, out = max(k.shape[-1] for k in kernels), 0
    for weight, kernel in zip(weights, kernels, strict=True):
        first = int((side - kernel.shape[-1]) * before)
        out = out + weight * F.pad(kernel, (first, side - kernel.shape[-1] - first) * 2)
    return out


def in_a_corner(kernels, weights):
    return mixed(kernels, weights, before=0)


def second_softmax(kernels, weights):
    return mixed(kernels, weights.softmax(0))


def weights_detached(kernels, weights):
    return mixed(kernels, weights.detach())


def kernels_detached(kernels, weights):
    return mixed([kernel.detach() for kernel in kernels], weights)


def all_detached(kernels, weights):
    return mixed(kernels, weights).detach()


def without_weights(kernels, weights):
    return mixed(kernels, torch.ones_like(weights))


def returns_nothing(kernels, weights):
    mixed(kernels, weights)


def shuffled_again(Wd, groups):
    return Wd.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def unchanged(Wd, groups):
    return Wd


def rows_reversed(Wd, groups):
    return Wd.flip(0)


def unaware_of(fault):
    """The answer of 7.3 that does not find this fault."""

    def alarm(mixer, z):
        found = reference_alarm(mixer, z)
        return "honest" if found == fault else found

    return alarm


WRONG = [
    Wrong("7.1", "kernels in a corner", "belongs in the centre", (in_a_corner,)),
    Wrong("7.1", "a second softmax", "second", (second_softmax,)),
    Wrong("7.1", "weights detached", "weights get no gradient", (weights_detached,)),
    Wrong("7.1", "kernels detached", "kernels get no gradient", (kernels_detached,)),
    Wrong("7.1", "everything detached", "nothing gets a gradient", (all_detached,)),
    Wrong("7.1", "weights left out", "without their weights", (without_weights,)),
    Wrong("7.1", "no return", "returned None", (returns_nothing,)),
    Wrong("7.2", "shuffles once more", "inverse", (shuffled_again,)),
    Wrong("7.2", "returns Wd", "order of its columns", (unchanged,)),
    Wrong("7.2", "permutes rows", "column of Wd", (rows_reversed,)),
    Wrong("7.3", "alpha never moved", "add a constant", (unaware_of("no softmax"),)),
    Wrong("7.3", "border not compared", "compare the border", (unaware_of("border"),)),
    Wrong("7.3", "inside not compared", "inside", (unaware_of("shifted"),)),
]
