"""How sure a paired difference is: an interval by a bootstrap over domains and, within, seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from naslora_core.errors import UserError

DRAWS = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean between its ends; `zero` is whether the interval holds 0."""

    mean: float
    low: float
    high: float

    @property
    def zero(self) -> bool:
        return self.low <= 0 <= self.high

    @property
    def words(self) -> str:
        """What an interval of a difference allows one to say."""
        return "cannot tell" if self.zero else "better" if self.mean > 0 else "worse"

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def nested(
    differences: Mapping[str, Sequence[float]], level: float = 0.95, draws: int = DRAWS, seed=0
) -> Interval:
    """Of differences by domain (one a seed): the mean of the domains' means, and its interval.

    A draw takes as many domains as there are, with replacement, and of each as many of its seeds,
    so the interval speaks of domains like these; of one domain alone, of its seeds (Davison and
    Hinkley 1997, 3.8). Few seeds make it too narrow: five never lie outside their own range.
    Raises UserError where a domain has no difference, or there is no domain.
    """
    lists = [np.asarray(d, float) for d in differences.values()]
    if not lists or not all(len(d) for d in lists):
        raise UserError(
            f"An interval over {len(lists)} domain(s), some without a difference, cannot be drawn; "
            "give each domain one difference a seed."
        )
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(lists), size=(len(lists), draws))
    # a domain that is drawn twice draws its seeds twice
    means = [np.choose(c, [_drawn(d, rng, draws) for d in lists]) for c in chosen]
    low, high = np.quantile(np.mean(means, 0), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean([d.mean() for d in lists])), float(low), float(high))


def seeds_and_images(differences, level: float = 0.95) -> Interval:
    """Of differences `seeds images` on one domain: their mean, and its interval.

    A draw takes seeds with replacement and images with replacement, the same images for every
    seed, so the interval speaks of this domain. Three seeds make it rather too narrow.
    """
    return these_domains([differences], level)


def these_domains(differences: Sequence, level: float = 0.95) -> Interval:
    """The same for the mean over several domains, which stay as they are: one array each."""
    arrays, rng = [np.asarray(d, float) for d in differences], np.random.default_rng(0)
    means = np.zeros(DRAWS)
    for values in arrays:
        # how often each is drawn, as shares of a draw: `DRAWS seeds`, `DRAWS images`
        runs, images = (rng.multinomial(n, np.full(n, 1 / n), DRAWS) / n for n in values.shape)
        means += ((runs @ values) * images).sum(1) / len(arrays)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean([d.mean() for d in arrays])), float(low), float(high))


def _drawn(values: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Means of as many values, drawn with replacement, `draws` times."""
    return values[rng.integers(len(values), size=(draws, len(values)))].mean(1)
