"""Probes of lesson 04: small classifiers that say of each token whether it is the object's."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from scipy.stats import mannwhitneyu
from torch import Tensor, nn

Maps = tuple[Tensor, Tensor, Tensor, Tensor]  # features and truth of training, of test


class Probe(nn.Module):
    """Token maps `N C H W` to logits `N 1 H W`: linear, or behind a 3 x 3 kernel a channel."""

    def __init__(self, channels: int, spatial: bool):
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(channels, 1, 3, 3)) if spatial else None
        self.linear = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel is not None:  # x + K x, with K = 0 at the start
            x = x + F.conv2d(x, self.kernel, padding=1, groups=len(self.kernel))
        return self.linear(x)


def gains_over_linear(
    maps: Maps, counts: list[int], order: Tensor, steps: int, seeds: int = 5
) -> dict[str, dict[int, list[float]]]:
    """Test AUC of three probes minus the linear probe's: by probe, training images, seed.

    order: a permutation of the tokens, for the control with random neighbours. A seed chooses
    training images and batches, the same for every probe.
    """

    def shuffled(x: Tensor) -> Tensor:
        return x.flatten(2)[..., order].view_as(x)

    features, truths = maps[:2], maps[2:]
    mean_of_nine = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1)
    rivals = {
        "3 × 3": (maps, True),
        "random neighbours": (tuple(map(shuffled, maps)), True),
        "fixed mean": ((*map(mean_of_nine, features), *truths), False),
    }
    found: dict[str, dict[int, list[float]]] = {name: {} for name in rivals}
    for count in counts:
        base = [_score(maps, count, seed, False, steps) for seed in range(seeds)]
        for name, (its_maps, spatial) in rivals.items():
            scores = [_score(its_maps, count, seed, spatial, steps) for seed in range(seeds)]
            found[name][count] = [s - b for s, b in zip(scores, base, strict=True)]
    return found


def _score(maps: Maps, count: int, seed: int, spatial: bool, steps: int) -> float:
    """Test AUC of one probe, trained on `count` images that the seed chooses."""
    x, x_test, y, y_test = maps
    g = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(x), generator=g)[:count]
    model = Probe(x.shape[1], spatial)
    train(model, x[some], y[some], steps, g)
    return auc(model(x_test).detach(), y_test)


def train(model: Callable, x: Tensor, y: Tensor, steps: int, g: torch.Generator) -> None:
    """Train a probe on maps `n C H W` and truth `n 1 H W`; the rarer class weighs more."""
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    rare = 1 / y.mean() - 1  # background tokens for one of the object
    for _ in range(steps):
        batch = torch.randint(len(x), (8,), generator=g)
        logits = model(x[batch])
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(logits, y[batch], pos_weight=rare).backward()
        optimiser.step()


def auc(logits: Tensor, truth: Tensor) -> float:
    """Share of pairs, one token inside and one outside, in the right order."""
    inside, outside = logits[truth > 0].double(), logits[truth == 0].double()
    return float(mannwhitneyu(inside, outside).statistic / len(inside) / len(outside))
