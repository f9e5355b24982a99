"""Exercises of lesson 07: kernels mixed as well as maps, an inert shuffle, four mixers."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.search.operator_registry import identity
from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import integers, lettered, overlooks, single


def mixed_kernels(kernels: Sequence[Tensor], weights: Tensor, before: float = 0.5) -> Tensor:
    """The reference of 7.1: the sum of padded kernels; before: share of the missing taps there."""
    side, mixed = max(k.shape[-1] for k in kernels), 0
    for weight, kernel in zip(weights, kernels, strict=True):
        first = int((side - kernel.shape[-1]) * before)
        last = side - kernel.shape[-1] - first
        mixed = mixed + weight * F.pad(kernel, (first, last) * 2)
    return mixed


def over_maps(kernels: Sequence[Tensor], weights: Tensor, z: Tensor) -> Tensor:
    """sum_i w_i (K_i * z), one convolution a kernel."""
    return sum(w * _once(k, z) for w, k in zip(weights, kernels, strict=True))


def _once(kernel: Tensor, z: Tensor) -> Tensor:
    """K * z, zeros beyond the border."""
    return F.conv2d(z, kernel, padding=kernel.shape[-1] // 2)


def _learned(mix, kernels: Sequence[Tensor], weights: Tensor, z: Tensor) -> dict:
    """The mixed kernel's map, and its gradients with respect to the weights and every kernel."""
    wanted = [t.clone().requires_grad_() for t in (weights, *kernels)]
    out = _once(mix(wanted[1:], wanted[0]), z)
    found = [torch.zeros_like(t) for t in wanted]
    if out.requires_grad:
        loss = out.square().sum()
        found = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    names = [f"Gradient of kernel {i} of {len(kernels)}" for i in range(1, len(kernels) + 1)]
    return {"The map": out.detach()} | dict(
        zip(("Gradient of the weights", *names), found, strict=True)
    )


def _drawn(rng: np.random.Generator, height: int, width: int) -> tuple:
    rank, sides = int(rng.integers(1, 5)), rng.permutation([1, 3, 5, 3])[:3].tolist()
    kernels = [single(rng, rank, rank, side, side) for side in sides]
    weights = torch.softmax(single(rng, len(kernels)), 0)
    return kernels, weights, single(rng, 2, rank, height, width)


@exercise(
    "One kernel for all",
    mixed_kernels,
    seen=_learned,
    in_a_corner=lambda kernels, weights: mixed_kernels(kernels, weights, before=0),
    second_softmax=lambda kernels, weights: mixed_kernels(kernels, weights.softmax(0)),
    weights_detached=lambda kernels, weights: mixed_kernels(kernels, weights.detach()),
    kernels_detached=lambda kernels, weights: mixed_kernels([k.detach() for k in kernels], weights),
    all_detached=torch.no_grad()(mixed_kernels),
    without_weights=lambda kernels, weights: mixed_kernels(kernels, torch.ones_like(weights)),
)
def ex_7_1():
    rng = np.random.default_rng(0)
    return [_drawn(rng, *size) for size in ((1, 1), (4, 6), (7, 3), (2, 8))]


@exercise(
    "The shuffle that changes nothing",
    lambda Wd, groups: Wd.unflatten(1, (-1, groups)).transpose(1, 2).flatten(1, 2),
    shuffled_again=lambda Wd, groups: Wd.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2),
    unchanged=lambda Wd, groups: Wd,
)
def ex_7_2(rng):
    groups, each = integers(rng, (2, 4), (3, 5))  # not its own inverse
    return single(rng, int(rng.integers(3, 9)), groups * each), groups


def reference_alarm(mixer: nn.Module, z: Tensor) -> str:
    """The reference of 7.3: "shifted", "border", "no softmax" or "honest"."""
    with torch.no_grad():
        out = mixer(z)
        gap = (out - over_maps(mixer.kernels, mixer.alpha.softmax(0), z)).abs()
        if gap[..., 2:-2, 2:-2].max() > 1e-4:
            return "shifted"
        if gap.max() > 1e-4:
            return "border"
        mixer.alpha += 1
        same = torch.allclose(mixer(z), out, atol=1e-4)
        mixer.alpha -= 1
    return "honest" if same else "no softmax"


class Honest(nn.Module):
    """sum_i softmax(alpha)_i K_i * z over a skip, two kernels and a mean; the others inherit."""

    def __init__(self, rank: int, drawn: torch.Generator):
        super().__init__()
        mean = identity(rank).expand(-1, -1, 3, 3) / 9
        free = [torch.randn(rank, rank, k, k, generator=drawn) / k**2 for k in (3, 5)]
        self.kernels = [identity(rank), *free, mean]  # r r k k
        self.alpha = nn.Parameter(torch.full((4,), 0.25))

    def weights(self) -> Tensor:
        return self.alpha.softmax(0)

    def padded(self, kernel: Tensor) -> Tensor:
        return F.pad(kernel, ((5 - kernel.shape[-1]) // 2,) * 4)

    def forward(self, z: Tensor) -> Tensor:
        pairs = zip(self.weights(), self.kernels, strict=True)
        return _once(sum(w * self.padded(k) for w, k in pairs), z)


class Cornered(Honest):
    """Every kernel stands in the top left corner of the largest."""

    def padded(self, kernel: Tensor) -> Tensor:
        return F.pad(kernel, (0, 5 - kernel.shape[-1]) * 2)


class Forgetful(Honest):
    """alpha as it is: right as long as alpha is what it was at the start."""

    def weights(self) -> Tensor:
        return self.alpha


class Stingy(Honest):
    """The mean divides by the tokens that there are: padding is not counted."""

    def forward(self, z: Tensor) -> Tensor:
        counted = F.avg_pool2d(z, 3, 1, 1)
        uncounted = F.avg_pool2d(z, 3, 1, 1, count_include_pad=False)
        return super().forward(z) + self.weights()[-1] * (uncounted - counted)


def suspects(seed: int = 0, rank: int = 3) -> dict[str, nn.Module]:
    """Four mixers by letter, of the same numbers, that agree in the middle of a flat map."""
    return lettered(
        lambda kind: kind(rank, torch.Generator().manual_seed(seed)),
        *(Stingy, Cornered, Honest, Forgetful),
    )


@exercise(
    "Four mixers, one honest",
    reference_alarm,
    no_softmax=overlooks(reference_alarm, "no softmax"),
    no_border=overlooks(reference_alarm, "border"),
    shifted=overlooks(reference_alarm, "shifted", "border"),
)
def ex_7_3():
    maps = [single(np.random.default_rng(seed), 2, 3, 9, 8) for seed in (0, 1)]
    return [(mixer, z) for seed, z in enumerate(maps) for mixer in suspects(seed).values()]
