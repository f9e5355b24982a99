"""Wrong answers of lesson 06."""

import torch
import torch.nn.functional as F

from naslora_workbook.lessons.exercises.lesson_06 import (
    half_reshaped_path,
    reshaped_path,
    router_gradients,
    spatial_path,
)
from wrong_answers import Wrong


def switch(z, w_gate, answers, target):
    w = w_gate.clone().requires_grad_()
    shares = (z.mean((2, 3)) @ w).softmax(1)
    gates = shares * (shares == shares.amax(1, keepdim=True))
    E = torch.einsum("bm,bmrhw->brhw", gates, answers)
    first = torch.autograd.grad(F.mse_loss(z + E, target), w)[0]
    return [first, router_gradients(z, w_gate, answers, target)[1]]


def none_for_no_gradient(*given):
    return [None, router_gradients(*given)[1]]


def naive(answers, log_gates):
    return (log_gates.exp()[..., None, None, None] * answers.exp()).sum(1).log()


def without_gates(answers, log_gates):
    return answers.logsumexp(1)


def one_maximum(answers, log_gates):
    top = answers.max()
    return top + (log_gates.exp()[..., None, None, None] * (answers - top).exp()).sum(1).log()


def without_z(x, We, K, Wd):
    return spatial_path(x, We, K, Wd) - x @ We.T @ Wd.T


WRONG = [
    Wrong("6.1", "the share among all experts", "ONE logit", (switch,)),
    Wrong("6.1", "None where there is no gradient", "zeros", (none_for_no_gradient,)),
    Wrong("6.1", "the order of the two", "swapped", (lambda *a: router_gradients(*a)[::-1],)),
    Wrong("6.2", "exp without a maximum", "overflows", (naive,)),
    Wrong("6.2", "no gates", "gates are missing", (without_gates,)),
    Wrong("6.2", "one maximum for all positions", "each position", (one_maximum,)),
    Wrong("6.3", "reshape both ways", "mixes", (reshaped_path,)),
    Wrong("6.3", "reshape on the way back", "way back", (half_reshaped_path,)),
    Wrong("6.3", "z is not added", "z itself", (without_z,)),
]
