"""Wrong answers of lesson 05."""

import copy

import torch

from wrong_answers import Wrong


def swapped(change, rank):
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    return u[:, :rank] * s[:rank], v[:rank]


def without_values(change, rank):
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    return v[:rank], u[:, :rank]


def uncut(change, rank):
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    return v, u * s


def dense(x, W0, b, We, Wd, s):
    return x @ (W0 + s * Wd @ We).T + b


def without_scale(x, W0, b, We, Wd, s):
    return x @ W0.T + b + x @ We.T @ Wd.T


def without_bias(x, W0, b, We, Wd, s):
    return x @ W0.T + s * (x @ We.T @ Wd.T)


def not_transposed(x, W0, b, We, Wd, s):
    return x @ W0 + b + s * (x @ We @ Wd)


def path_kept(layer):
    layer = copy.deepcopy(layer)
    layer.base.weight += layer.scale * layer.Wd @ layer.We
    return layer


def scale_forgotten(layer):
    linear = copy.deepcopy(layer.base)
    linear.weight += layer.Wd @ layer.We
    return linear


def in_place(layer):
    layer.base.weight += layer.scale * layer.Wd @ layer.We
    return layer.base


WRONG = [
    Wrong("5.1", "We and Wd swapped", "swapped", (swapped,)),
    Wrong("5.1", "no singular values", "singular values are missing", (without_values,)),
    Wrong("5.1", "not cut", "not cut", (uncut,)),
    Wrong("5.2", "the dense product", "never Wd @ We", (dense,)),
    Wrong("5.2", "no scale", "scale s is missing", (without_scale,)),
    Wrong("5.2", "no bias", "bias b is missing", (without_bias,)),
    Wrong("5.2", "matrices not transposed", r"x @ W\.T", (not_transposed,)),
    Wrong("5.3", "the path is kept beside the merged weight", "twice", (path_kept,)),
    Wrong("5.3", "no scale", "scale is missing", (scale_forgotten,)),
    Wrong("5.3", "the base is changed in place", "copy it first", (in_place,)),
]
