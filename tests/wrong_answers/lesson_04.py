"""Wrong answers of lesson 04."""

import torch
import torch.nn.functional as F

from wrong_answers import Wrong


def order_twice(layer, x, order):
    return float((layer(x[:, order])[:, order] - layer(x)).abs().max())


def not_put_back(layer, x, order):
    return float((layer(x[:, order]) - layer(x)).abs().max())


def on_the_whole_map(operator, x, window):
    return operator(x)


def without_permute(operator, x, window):
    b, h, w, c = x.shape
    x = F.pad(x, (0, 0, 0, -w % window, 0, -h % window))
    shape = x.shape
    return operator(x.reshape(-1, window, window, c)).reshape(shape)[:, :h, :w]


def padding_kept(operator, x, window):
    b, h, w, c = x.shape
    return F.pad(x, (0, 0, 0, -w % window, 0, -h % window))


def field(layer, x, at, absolute=True, weighed=True):
    x = x.detach().clone().requires_grad_()
    y = layer(x)[:, at[0], at[1]]
    (y * torch.randn(y.shape[-1]).to(y) if weighed else y).sum().backward()
    found = (x.grad.abs() if absolute else x.grad).sum((0, 3)).abs()
    return found > 1e-6 * found.max()


def without_absolute_values(layer, x, at):
    return field(layer, x, at, absolute=False)


def plain_sum(layer, x, at):
    return field(layer, x, at, weighed=False)


WRONG = [
    Wrong("4.1", "the order applied twice", "inverse", (order_twice,)),
    Wrong("4.1", "tokens are not put back", "put back", (not_put_back,)),
    Wrong("4.2", "the operator on the whole map", "whole map", (on_the_whole_map,)),
    Wrong("4.2", "no permute", "scrambled", (without_permute,)),
    Wrong("4.2", "padding is not removed", "padding", (padding_kept,)),
    Wrong("4.3", "no absolute values", r"^(?!.*random).*absolute", (without_absolute_values,)),
    Wrong("4.3", "a plain sum of output channels", r"^(?!.*absolute).*random", (plain_sum,)),
]
