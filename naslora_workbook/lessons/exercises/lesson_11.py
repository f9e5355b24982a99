"""Exercises of lesson 11: fold the centre tap, tell what will fold, compare a fold fairly."""

import copy
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_workbook.lessons.checks import exercise
from naslora_workbook.lessons.exercises.cases import normal
from naslora_workbook.lessons.exercises.lesson_05 import LowRank, random_linear

EVERYTHING, BESIDE, NOTHING = "everything", "a side branch", "nothing"


def folded_tap(W0, We, Wd, K, s: float, tap: int | None = None) -> tuple[Tensor, Tensor]:
    """The reference of 11.1: the weight with the centre tap, and the kernel without it."""
    at, rest = K.shape[-1] // 2 if tap is None else tap, K.clone()
    rest[..., at, at] = 0
    return W0 + s * Wd @ K[..., at, at] @ We, rest


def _parts(fold, W0, We, Wd, K, s) -> dict:
    before = W0.clone(), K.clone()
    weight, rest = fold(W0, We, Wd, K, s)
    same = torch.equal(W0, before[0]) and torch.equal(K, before[1])
    words = "as they were" if same else "changed"
    return {"The weight": weight, "What stays of K": rest, "W0 and K": words}


def _in_place(W0, We, Wd, K, s) -> tuple[Tensor, Tensor]:
    weight, rest = folded_tap(W0, We, Wd, K, s)
    return weight, K.copy_(rest)


@exercise(
    "Fold the centre tap by hand",
    folded_tap,
    seen=_parts,
    without_scale=lambda W0, We, Wd, K, s: folded_tap(W0, We, Wd, K, 1.0),
    counted_twice=lambda W0, We, Wd, K, s: (folded_tap(W0, We, Wd, K, s)[0], K),
    in_place=_in_place,
    tap_1_1=partial(folded_tap, tap=1),
    nothing_stays=lambda W0, We, Wd, K, s: (folded_tap(W0, We, Wd, K, s)[0], 0 * K),
)
def ex_11_1(rng):
    d, out, rank = (int(n) for n in rng.integers((4, 5, 2), (9, 12, 5)))
    side = int(rng.choice([3, 5]))
    narrow = normal(rng, rank, d), normal(rng, out, rank)
    return normal(rng, out, d), *narrow, normal(rng, rank, rank, side, side), 3.0


def _linear_anyway(layer: nn.Module, x: Tensor) -> str:
    """The answer of someone who takes this layer for linear; nothing for one that is."""
    if fate(layer, x) != NOTHING:
        raise ValueError("this layer is linear")
    return _beside_or_everything(layer, x, x.shape[1] // 2, 1)


def _flat_map(layer: nn.Module, x: Tensor) -> str:
    """The answer of someone who compares a flat map with one of its tokens alone."""
    if fate(layer, x) == NOTHING:
        return NOTHING
    flat, at = torch.ones_like(x), x.shape[1] // 2
    alone, inside = layer(flat[:, :1, :1]), layer(flat)[:, at : at + 1, at : at + 1]
    return EVERYTHING if torch.allclose(alone, inside, atol=1e-6) else BESIDE


def fate(layer: nn.Module, x: Tensor) -> str:
    """The reference of 11.2, for a layer `B H W d` to `B H W o` that treats places alike."""
    return _poked(layer, x, at=x.shape[1] // 2, random=True)


def _poked(layer: nn.Module, x: Tensor, at: int, random: bool) -> str:
    """What folds, by additivity and by a change of the token (at, at)."""
    a, b, zero = x, x.flip(0, 1), layer(torch.zeros_like(x))
    if not torch.allclose(layer(a + b) + zero, layer(a) + layer(b), atol=1e-6):
        return NOTHING
    noise = normal(np.random.default_rng(0), x.shape[0], x.shape[-1]).to(x)
    return _beside_or_everything(layer, x, at, noise if random else 1)


def _beside_or_everything(layer: nn.Module, x: Tensor, at: int, change) -> str:
    """Whether a change of the token (at, at) reaches others."""
    changed = x.clone()
    changed[:, at, at] += change
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
        small, large = torch.randn(3, 3, 1, 1), torch.randn(3, 3, 5, 5)
        glance = F.pad(torch.randn(3, 3, 1, 1), (0, 2, 1, 1))  # the left neighbour alone
        balanced = torch.randn(3, 1, 3, 3) * torch.tensor([1.0, -2, 1]).view(1, 3, 1, 1)
        edge = torch.randn(3, 3, 1, 1) * torch.tensor([[0.0, 1, 0], [-1, 0, 1], [0, -1, 0]])
        maps = {
            "skip": nn.Identity(),
            "conv_1x1": _convolution(small),
            "conv_5x5": _convolution(large),
            "zero over places": _convolution(edge),
            "zero over channels": _convolution(balanced),
            "one direction": _convolution(glance),
            "the other direction": _convolution(glance.flip(-1)),
            "relu": F.relu,
            "tanh": torch.tanh,  # odd, as a linear map is
            "max pool": lambda z: F.max_pool2d(z, 3, 1, 1),
            "median": _median,  # of 3 x 3, under which any factor passes
            "gate": lambda z: z * z.mean((2, 3), keepdim=True).softmax(1),
        }
        return {name: Mystery(each) for name, each in maps.items()}


def _convolution(kernel: Tensor):
    return lambda z: F.conv2d(z, kernel.to(z), padding=kernel.shape[-1] // 2)


def _median(z: Tensor) -> Tensor:
    patches = F.unfold(z, 3, padding=1).unflatten(1, (z.shape[1], 9))
    return patches.median(2).values.view_as(z)


@exercise(
    "What will fold?",
    fate,
    seen=torch.no_grad()(lambda function, layer, x: function(layer, x)),
    not_linear=_linear_anyway,
    constant_change=partial(_poked, at=3, random=False),
    flat_map=_flat_map,
    first_corner=partial(_poked, at=0, random=True),
    last_corner=partial(_poked, at=-1, random=True),
)
def ex_11_2():
    batches = {seed: normal(np.random.default_rng(seed), 2, 7, 6, 6) for seed in (0, 1)}
    return [(layer, x) for seed, x in batches.items() for layer in mysteries(seed).values()]


class Dropped(LowRank):
    """LoRA with dropout before We, as many trainers have it: y = W0 x + b + s Wd We drop(x)."""

    def forward(self, x: Tensor) -> Tensor:
        dropped = F.dropout(x, 0.1, self.training)
        return self.base(x) + self.scale * (dropped @ self.We.T @ self.Wd.T)


@torch.no_grad()
def dropped(rng: np.random.Generator) -> Dropped:
    """A layer of random numbers, 6 to 8 at rank 2, in float64."""
    base = random_linear(rng, 6, 8)
    return Dropped(base, normal(rng, 2, 6), normal(rng, 8, 2), 4.0)


def _gap_and_mode(compare, layer, folded, x) -> list:
    was, gap = layer.training, torch.as_tensor(compare(layer, folded, x))
    found = "left as it was found" if layer.training == was else "not as it was found"
    return [gap, f"{found}: {'train' if layer.training else 'eval'} mode"]


def _gap(layer, folded, x, then=None) -> Tensor:
    was = layer.training
    found = (layer.eval()(x) - folded(x)).abs().max()
    layer.train(was if then is None else then)
    return found


@exercise(
    "A right fold that looks wrong",
    _gap,
    seen=_gap_and_mode,
    left_in_eval=partial(_gap, then=False),
    always_train=partial(_gap, then=True),
    generous=lambda layer, folded, x: torch.zeros(()),
)
def ex_11_3():
    return [_folded_or_not(np.random.default_rng(seed)) for seed in range(12)]


def _folded_or_not(rng: np.random.Generator) -> tuple:
    layer = dropped(rng)
    right = bool(rng.integers(2))
    folded = copy.deepcopy(layer.base)
    factor = layer.scale if right else 1.0  # the scale forgotten
    folded.weight += factor * layer.Wd @ layer.We
    return layer.train(bool(rng.integers(4))), folded, normal(rng, 2, 3, 3, 6)
