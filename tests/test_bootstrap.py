"""Intervals of paired differences: against scipy, against arithmetic, and how often they hold."""

import numpy as np
import pytest
from scipy import stats

from naslora_core.errors import UserError
from naslora_workbook.research.bootstrap import nested


def test_the_mean_is_that_of_the_domains_whatever_number_of_seeds_each_has():
    found = nested({"a": [1.0, 1.0, 1.0, 1.0], "b": [3.0]})
    assert found.mean == 2.0 and not found.zero


def test_one_domain_is_scipys_percentile_bootstrap_of_its_seeds():
    values = np.random.default_rng(0).normal(0.02, 0.01, 30)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999, rng=1)
    ours = nested({"a": values})
    assert [ours.low, ours.high] == pytest.approx(theirs.confidence_interval, abs=3e-4)


def test_domains_that_differ_widen_it_though_their_seeds_agree():
    seeds = {"a": [0.1] * 5, "b": [-0.1] * 5, "c": [0.12] * 5}
    assert nested(seeds).zero and not nested({"a": [0.1] * 5}).zero


def test_it_holds_the_true_mean_about_as_often_as_it_says():
    held, rng = 0, np.random.default_rng(3)
    for trial in range(100):
        truth = {i: rng.normal(0, 1, 1) for i in range(12)}
        drawn = {i: m + rng.normal(0, 1, 10) for i, m in truth.items()}
        held += nested(drawn, draws=300, seed=trial).zero
    assert 0.88 <= held / 100 < 1


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_its_width_is_that_of_both_levels_in_closed_form(spread):
    """A domain drawn twice has its seeds drawn anew, so within domains nothing is counted twice."""
    domains, seeds = 12, 10
    rng = np.random.default_rng(1)
    within = rng.normal(0, 1, (domains, seeds))
    between = spread * rng.normal(0, 1, (domains, 1))
    values = within - within.mean(1, keepdims=True) + between
    variance = (between.var() + values.var(1).mean() / seeds) / domains
    found = nested(dict(enumerate(values)))
    assert found.high - found.low == pytest.approx(2 * 1.96 * variance**0.5, rel=0.05)


def test_the_same_seed_draws_the_same_interval():
    values = {name: np.random.default_rng(n).normal(size=9) for n, name in enumerate("abc")}
    assert nested(values, seed=4) == nested(values, seed=4) != nested(values, seed=5)


@pytest.mark.parametrize("given", [{}, {"a": [], "b": [1.0]}])
def test_nothing_to_draw_from_is_told(given):
    with pytest.raises(UserError, match="one difference a seed"):
        nested(given)
