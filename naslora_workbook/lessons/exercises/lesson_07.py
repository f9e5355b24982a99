"""Exercises of lesson 07: kernels mixed as well as maps, an inert shuffle, four mixers."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.search.operator_registry import identity
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.drawn import normal

single = partial(normal, kind=torch.float32)


def ex_7_1(answer):
    """One kernel for all"""

    def case(rng, height, width):
        rank, sides = int(rng.integers(1, 5)), rng.permutation([1, 3, 5, 3])[:3].tolist()
        kernels = [single(rng, rank, rank, side, side) for side in sides]
        weights = torch.softmax(single(rng, len(kernels)), 0)
        return kernels, weights, single(rng, 2, rank, height, width)

    rng = np.random.default_rng(0)
    sizes = ((1, 1), (4, 6), (7, 3), (2, 8))
    return checks.check(
        "7.1",
        _through(answer),
        lambda kernels, weights, z: _learned(over_maps, kernels, weights, z),
        [case(rng, *size) for size in sizes],
        hint="Put each kernel into the centre of a kernel of the largest side, multiply it by its "
        "weight, and add. The gradients must reach the weights and every kernel.",
        proves="One convolution gives the values and the gradients of the slow loop.",
        mistakes={
            "Each kernel stands in the top left corner; it belongs in the centre.": _through(
                lambda k, w: _mixed(k, w, lambda missing: (0, missing))
            ),
            "The weights are a softmax already: do not apply a second one.": _through(
                lambda k, w: _mixed(k, w.softmax(0), _both_sides)
            ),
            "The values are right, but the weights get no gradient: remove detach().": _through(
                lambda k, w: _mixed(k, w.detach(), _both_sides)
            ),
            "The values are right, but the kernels get no gradient: remove detach().": _through(
                lambda k, w: _mixed([each.detach() for each in k], w, _both_sides)
            ),
            "The values are right, but nothing gets a gradient: remove no_grad().": _through(
                torch.no_grad()(lambda k, w: _mixed(k, w, _both_sides))
            ),
            "The kernels are added without their weights.": _through(
                lambda k, w: _mixed(k, torch.ones_like(w), _both_sides)
            ),
        },
    )


def _both_sides(missing: int) -> tuple[int, int]:
    """Half of the missing taps before the kernel, half behind it."""
    return missing // 2, missing // 2


def _mixed(kernels, weights, margins) -> Tensor:
    """The weighted sum of padded kernels; margins: missing taps -> taps before, taps behind."""
    side = max(k.shape[-1] for k in kernels)
    padded = [F.pad(k, margins(side - k.shape[-1]) * 2) for k in kernels]
    return sum(w * k for w, k in zip(weights, padded, strict=True))


def _through(mix):
    """What 7.1 compares of a function (kernels, weights) -> kernel: its map and gradients."""

    def found(kernels, weights, z):
        return _learned(lambda k, w, z: _once_if(mix(k, w), z), kernels, weights, z)

    return found


def over_maps(kernels: Sequence[Tensor], weights: Tensor, z: Tensor) -> Tensor:
    """The reference of 7.1: sum_i w_i (K_i * z), one convolution a kernel."""
    return sum(w * _once(k, z) for w, k in zip(weights, kernels, strict=True))


def _once(kernel: Tensor, z: Tensor) -> Tensor:
    """K * z, zeros beyond the border."""
    return F.conv2d(z, kernel, padding=kernel.shape[-1] // 2)


def _once_if(kernel: Tensor | None, z: Tensor) -> Tensor | None:
    """K * z, or None where an answer returned nothing."""
    return None if kernel is None else _once(kernel, z)


def _learned(way, kernels: Sequence[Tensor], weights: Tensor, z: Tensor) -> dict | None:
    """The map, and its gradients with respect to the weights and every kernel."""
    wanted = [t.clone().requires_grad_() for t in (weights, *kernels)]
    out = way(wanted[1:], wanted[0], z)
    if out is None:
        return None
    found = [None] * len(wanted)
    if out.requires_grad:
        found = torch.autograd.grad(out.square().sum(), wanted, allow_unused=True)
    names = ["Gradient of the weights"]
    names += [f"Gradient of kernel {i} of {len(kernels)}" for i in range(1, len(kernels) + 1)]
    filled = [torch.zeros_like(t) if g is None else g for g, t in zip(found, wanted, strict=True)]
    return {"The map": out.detach()} | dict(zip(names, filled, strict=True))


def ex_7_2(answer):
    """The shuffle that changes nothing"""

    def case(rng):
        groups, each = int(rng.integers(2, 4)), int(rng.integers(3, 5))  # not its own inverse
        return single(rng, int(rng.integers(3, 9)), groups * each), groups

    def reference(Wd, groups):
        return Wd.unflatten(1, (-1, groups)).transpose(1, 2).flatten(1, 2)

    return checks.check(
        "7.2",
        answer,
        reference,
        case,
        hint="Wd shuffle(z) = Wd' z for every z. Ask which column of Wd multiplies channel i after "
        "the shuffle.",
        proves="Every Wd behind a shuffle equals some Wd without one, so the shuffle adds nothing.",
        mistakes={
            (
                "You shuffled the columns of Wd once more. The way back is the inverse "
                "permutation, which is another one unless groups and channels are equally many."
            ): lambda Wd, groups: Wd.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2),
            "You returned Wd itself: the order of its columns must change.": lambda Wd, groups: Wd,
        },
    )


def ex_7_3(answer):
    """Four mixers, one honest"""
    cases = []
    for seed in (0, 1):
        z = single(np.random.default_rng(seed), 2, 3, 9, 8)
        cases += [(mixer, z) for mixer in suspects(seed).values()]
    return checks.check(
        "7.3",
        answer,
        reference_alarm,
        cases,
        hint="Compare with the reference inside the map first, then at its border. Where both are "
        "right, add a constant to alpha: a softmax does not change.",
        proves="Your function tells a shifted kernel, a wrong border and a missing softmax apart.",
        mistakes={
            (
                "At its starting alpha this mixer is right, but it has no softmax: add a constant "
                "to alpha and compare its output with the one before."
            ): partial(_without, "no softmax"),
            "Inside the map this mixer is right; compare the border, too.": partial(
                _without, "border"
            ),
            "A shifted kernel is wrong at the border, too: look inside first.": lambda mixer, z: (
                _without("shifted", mixer, z, "border")
            ),
        },
    )


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


def _without(fault: str, mixer: nn.Module, z: Tensor, instead: str = "honest") -> str:
    """The answer of someone who does not find this fault."""
    found = reference_alarm(mixer, z)
    return instead if found == fault else found


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
    kinds = Stingy, Cornered, Honest, Forgetful
    return {
        letter: kind(rank, torch.Generator().manual_seed(seed))
        for letter, kind in zip("ABCD", kinds, strict=True)
    }
