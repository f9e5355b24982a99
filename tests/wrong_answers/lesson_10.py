"""Wrong answers of lesson 10."""

import numpy as np
import torch

from wrong_answers import Wrong


def left(kernel, basis):
    """Share of the kernel's energy that the spanning kernels leave."""
    A, k = basis.flatten(1).T, kernel.flatten()[:, None]
    rest = k - A @ torch.linalg.lstsq(A, k).solution
    return rest.square().sum() / k.square().sum()


def best_fit(kernel, classes, tolerance=0.01):
    return min(classes, key=lambda name: left(kernel, classes[name]).item() - 1e-9 * len(name))


def norms_compared(kernel, classes, tolerance=0.01):
    fitting = (n for n, basis in classes.items() if left(kernel, basis).sqrt() <= tolerance)
    return next(fitting, "none fits")


def by_place(kernel, classes, tolerance=0.01):
    for name, basis in classes.items():
        outside = kernel * ~(basis != 0).any(0)
        if outside.square().sum() <= tolerance * kernel.square().sum():
            return name
    return "none fits"


def never_nothing(kernel, classes, tolerance=0.01):
    fitting = (n for n, basis in classes.items() if left(kernel, basis) <= tolerance)
    return next(fitting, list(classes)[-1])


def by_places(one, other):
    pairs = zip(one.blocks, other.blocks, strict=True)
    return np.mean([np.abs(np.subtract(a.probability, b.probability)).sum() / 2 for a, b in pairs])


def probabilities(block, genotype):
    return dict(zip(genotype.operators, block.probability, strict=True))


def blocks_by_place(one, other):
    found = []
    for a, b in zip(one.blocks, other.blocks, strict=True):
        p, q = probabilities(a, one), probabilities(b, other)
        found.append(sum(abs(p.get(n, 0) - q.get(n, 0)) for n in p | q) / 2)
    return np.mean(found)


def gaps(one, other, both):
    theirs, found = {b.block: b for b in other.blocks}, []
    for block in one.blocks:
        p, q = probabilities(block, one), probabilities(theirs[block.block], other)
        found.append(sum(abs(p.get(n, 0) - q.get(n, 0)) for n in (p | q if both else p)))
    return np.mean(found)


def one_sided(one, other):
    return gaps(one, other, both=False) / 2


def not_halved(one, other):
    return gaps(one, other, both=True)


WRONG = [
    Wrong("10.1", "the best fit", "first that fits", (best_fit,)),
    Wrong("10.1", "norms compared", "squares, not norms", (norms_compared,)),
    Wrong("10.1", "classes by place", "places of a class", (by_place,)),
    Wrong("10.1", "never none", "none fits", (never_nothing,)),
    Wrong("10.2", "everything by place", "still matched by their place", (by_places,)),
    Wrong("10.2", "blocks by place", "blocks still by their place", (blocks_by_place,)),
    Wrong("10.2", "names of one side", "only the other genotype", (one_sided,)),
    Wrong("10.2", "not halved", "Half of the sum", (not_halved,)),
]
