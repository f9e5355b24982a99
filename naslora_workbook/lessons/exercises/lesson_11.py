"""Exercises of lesson 11: fold the centre tap, tell what will fold, compare a fold fairly."""

import copy
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.drawn import normal

EVERYTHING, BESIDE, NOTHING = "everything", "a side branch", "nothing"


def ex_11_1(answer):
    """Fold the centre tap by hand"""

    def case(rng):
        d, out, rank = (int(n) for n in rng.integers((4, 5, 2), (9, 12, 5)))
        side = int(rng.choice([3, 5]))
        narrow = normal(rng, rank, d), normal(rng, out, rank)
        return normal(rng, out, d), *narrow, normal(rng, rank, rank, side, side), 3.0

    def reference(W0, We, Wd, K, s):
        return _parts(*_folded(W0, We, Wd, K, s), True)

    def asked(W0, We, Wd, K, s):
        before = W0.clone(), K.clone()
        found = answer(W0, We, Wd, K, s)
        same = torch.equal(W0, before[0]) and torch.equal(K, before[1])
        return found if found is None else _parts(*found, same)

    return checks.check(
        "11.1",
        asked,
        reference,
        case,
        hint="The weight is W0 + s Wd K[c, c] We, in this order. The tap that is folded must be 0 "
        "in what stays. Work on copies.",
        proves="Your weight and your rest add up to the adapted layer, for kernels of any side.",
        mistakes={
            "The scale s is missing in the weight.": (
                lambda W0, We, Wd, K, s: _parts(*_folded(W0, We, Wd, K, 1.0), True)
            ),
            "The centre tap counts twice: it is in the weight and still in what stays of K.": (
                lambda W0, We, Wd, K, s: _parts(_folded(W0, We, Wd, K, s)[0], K, True)
            ),
            "You changed K itself: clone it first.": (
                lambda W0, We, Wd, K, s: _parts(*_folded(W0, We, Wd, K, s), False)
            ),
            "Tap (1, 1) is the centre of a 3 x 3 only; use K.shape[-1] // 2.": _corner_tap,
            "The weight is right; what stays of K has lost more than its centre tap.": (
                lambda W0, We, Wd, K, s: _parts(_folded(W0, We, Wd, K, s)[0], 0 * K, True)
            ),
        },
    )


def _folded(W0: Tensor, We: Tensor, Wd: Tensor, K: Tensor, s: float) -> tuple[Tensor, Tensor]:
    """The reference of 11.1: the weight with the centre tap, and the kernel without it."""
    centre, rest = K.shape[-1] // 2, K.clone()
    rest[..., centre, centre] = 0
    return W0 + s * Wd @ K[..., centre, centre] @ We, rest


def _parts(weight: Tensor, rest: Tensor, same: bool) -> dict:
    """What 11.1 compares."""
    words = "as they were" if same else "changed"
    return {"The weight": weight, "What stays of K": rest, "W0 and K": words}


def _corner_tap(W0: Tensor, We: Tensor, Wd: Tensor, K: Tensor, s: float) -> dict:
    rest = K.clone()
    rest[..., 1, 1] = 0
    return _parts(W0 + s * Wd @ K[..., 1, 1] @ We, rest, True)


def ex_11_2(answer):
    """What will fold?"""
    return checks.check(
        "11.2",
        lambda layer, x: _asked(answer, layer, x),
        lambda layer, x: fate(layer, x),
        [(layer, _batch(seed)) for seed in (0, 1) for layer in mysteries(seed).values()],
        hint="First: is layer(a + b) + layer(0) = layer(a) + layer(b)? Then change one token in "
        "the middle of the map by random numbers, and see which outputs change.",
        proves="You read what folds from what a layer does, whatever it is made of.",
        mistakes={
            NOT_LINEAR: _linear_anyway,
            FLAT_MAP: _flat_map,
        }
        | {
            sentence: partial(_asked, partial(_poked, at=at, random=random))
            for sentence, (at, random) in POKES.items()
        },
    )


@torch.no_grad()
def _linear_anyway(layer: nn.Module, x: Tensor) -> str:
    """The answer of someone who takes this layer for linear; nothing for one that is."""
    if fate(layer, x) != NOTHING:
        raise ValueError("this layer is linear")
    at, changed = x.shape[1] // 2, x.clone()
    changed[:, at, at] += 1
    moved = (layer(changed) - layer(x)).abs().amax((0, 3)) > 1e-6
    moved[at, at] = False
    return BESIDE if moved.any() else EVERYTHING


@torch.no_grad()
def _flat_map(layer: nn.Module, x: Tensor) -> str:
    """The answer of someone who compares a flat map with one of its tokens alone."""
    if fate(layer, x) == NOTHING:
        return NOTHING
    flat, at = torch.ones_like(x), x.shape[1] // 2
    alone, inside = layer(flat[:, :1, :1]), layer(flat)[:, at : at + 1, at : at + 1]
    return EVERYTHING if torch.allclose(alone, inside, atol=1e-6) else BESIDE


@torch.no_grad()
def _asked(answer, layer: nn.Module, x: Tensor):
    return answer(layer, x)


def fate(layer: nn.Module, x: Tensor) -> str:
    """The reference of 11.2, for a layer `B H W d` to `B H W o` that treats places alike."""
    return _poked(layer, x, at=x.shape[1] // 2, random=True)


NOT_LINEAR = (
    "This layer is not linear. Doubling does not show it (a ReLU passes), nor any factor (a median "
    "passes), nor the sign (tanh passes): add two different inputs."
)
FLAT_MAP = (
    "A flat map is not enough: a 3 x 3 whose taps sum to zero gives nothing on it. Change one "
    "token by random numbers."
)
POKES = {
    "A constant change is not enough: a kernel whose taps sum to zero over the channels does "
    "not react. Change the token by random numbers.": (3, False),
    "A token in a corner is not enough: a kernel may look in one direction only. Change a token in "
    "the middle of the map.": (0, True),
    "A token in the last corner is not enough: a kernel may look in one direction only. Change a "
    "token in the middle of the map.": (-1, True),
}


@torch.no_grad()
def _poked(layer: nn.Module, x: Tensor, at: int, random: bool) -> str:
    """What folds, by additivity and by a change of the token (at, at)."""
    a, b, zero = x, x.flip(0, 1), layer(torch.zeros_like(x))
    if not torch.allclose(layer(a + b) + zero, layer(a) + layer(b), atol=1e-6):
        return NOTHING
    changed, noise = x.clone(), normal(np.random.default_rng(0), x.shape[0], x.shape[-1])
    changed[:, at, at] += noise.to(x) if random else 1
    moved = (layer(changed) - layer(x)).abs().amax((0, 3)) > 1e-6
    moved[at, at] = False
    return BESIDE if moved.any() else EVERYTHING


class Mystery(nn.Module):
    """W0 x + b + Wd m(We x), channels-last; m maps `B r H W` to the same shape."""

    def __init__(self, map_, d: int = 6, rank: int = 3):
        super().__init__()
        self.base, self.map = nn.Linear(d, 8), map_
        We = torch.randn(rank, d).double()  # in float32 the next line would be inexact
        We += 1 - We.mean(1, keepdim=True)  # a constant added to x is one in z, for every channel
        self.We, self.Wd = nn.Parameter(We), nn.Parameter(torch.randn(8, rank))
        self.double().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        z = self.map((x @ self.We.T).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.base(x) + z @ self.Wd.T


def mysteries(seed: int) -> dict[str, nn.Module]:
    """Adapted layers whose fate is to be told, by name."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        kernels = {1: torch.randn(3, 3, 1, 1), 5: torch.randn(3, 3, 5, 5)}
        glance = F.pad(torch.randn(3, 3, 1, 1), (0, 2, 1, 1))  # the left neighbour alone
        mirrored = glance.flip(-1)
        balanced = torch.randn(3, 1, 3, 3) * torch.tensor([1.0, -2, 1]).view(1, 3, 1, 1)
        edge = torch.randn(3, 3, 1, 1) * torch.tensor([[0.0, 1, 0], [-1, 0, 1], [0, -1, 0]])
        maps = {
            "skip": nn.Identity(),
            "conv_1x1": lambda z: F.conv2d(z, kernels[1].to(z)),
            "conv_5x5": lambda z: F.conv2d(z, kernels[5].to(z), padding=2),
            "zero over channels": lambda z: F.conv2d(z, balanced.to(z), padding=1),
            "zero over places": lambda z: F.conv2d(z, edge.to(z), padding=1),
            "one direction": lambda z: F.conv2d(z, glance.to(z), padding=1),
            "the other direction": lambda z: F.conv2d(z, mirrored.to(z), padding=1),
            "relu": F.relu,
            "tanh": torch.tanh,  # odd, as a linear map is
            "max pool": lambda z: F.max_pool2d(z, 3, 1, 1),
            "median": _median,  # of 3 x 3, under which any factor passes
            "gate": lambda z: z * z.mean((2, 3), keepdim=True).softmax(1),
        }
        return {name: Mystery(each) for name, each in maps.items()}


def _median(z: Tensor) -> Tensor:
    patches = F.unfold(z, 3, padding=1).unflatten(1, (z.shape[1], 9))
    return patches.median(2).values.view_as(z)


def _batch(seed: int) -> Tensor:
    return normal(np.random.default_rng(seed), 2, 7, 6, 6)


def ex_11_3(answer):
    """A right fold that looks wrong"""

    def case(rng):
        layer = dropped(rng)
        right = bool(rng.integers(2))
        folded = copy.deepcopy(layer.base)
        factor = layer.scale if right else 1.0  # the scale forgotten
        folded.weight += factor * layer.Wd @ layer.We
        return layer.train(bool(rng.integers(4))), folded, normal(rng, 2, 3, 3, 6)

    def reference(layer, folded, x):
        return _gap(layer, folded, x)

    def asked(layer, folded, x):
        was, gap = layer.training, torch.as_tensor(answer(layer, folded, x))
        found = "left as it was found" if layer.training == was else "not as it was found"
        return [gap, f"{found}: {_mode(layer.training)}"]

    return checks.check(
        "11.3",
        asked,
        reference,
        [case(np.random.default_rng(seed)) for seed in range(12)],
        hint="Some of these folds are right (gap 0 up to rounding), some forgot the scale. Compare "
        "in eval mode, and return the layer to the mode in which you found it.",
        proves="Right folds measure zero, wrong ones do not, and the training goes on unchanged.",
        mistakes={
            "The layer stayed in eval mode: the next epoch would train without dropout.": (
                lambda layer, folded, x: _gap(layer, folded, x, False, layer.training)
            ),
            "You always return to train mode; return to the mode in which you found the layer.": (
                lambda layer, folded, x: _gap(layer, folded, x, True, layer.training)
            ),
            "A gap of a wrong fold must be reported; do not raise the tolerance.": (
                lambda layer, folded, x: [torch.zeros(()), *_gap(layer, folded, x)[1:]]
            ),
        },
    )


def _gap(layer: "Dropped", folded, x: Tensor, left: bool | None = None, was=None) -> list:
    """What 11.3 compares; left: the mode in which the layer is left, None as it was found."""
    was = layer.training if was is None else was
    gap = (layer.eval()(x) - folded(x)).abs().max()
    same = left is None or left == was
    found = "left as it was found" if same else "not as it was found"
    return [gap, f"{found}: {_mode(was if left is None else left)}"]


def _mode(training: bool) -> str:
    return "train mode" if training else "eval mode"


class Dropped(nn.Module):
    """LoRA with dropout before We, as many trainers have it: y = W0 x + b + s Wd We drop(x)."""

    def __init__(self, base: nn.Linear, We: Tensor, Wd: Tensor, scale: float, p: float = 0.1):
        super().__init__()
        self.base, self.We, self.Wd, self.scale = base, We, Wd, scale
        self.drop = nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scale * (self.drop(x) @ self.We.T @ self.Wd.T)


@torch.no_grad()
def dropped(rng: np.random.Generator) -> Dropped:
    """A layer of random numbers, 6 to 8 at rank 2, in float64."""
    base = nn.Linear(6, 8).double().requires_grad_(False)
    base.weight.copy_(normal(rng, 8, 6))
    base.bias.copy_(normal(rng, 8))
    return Dropped(base, normal(rng, 2, 6), normal(rng, 8, 2), 4.0)
