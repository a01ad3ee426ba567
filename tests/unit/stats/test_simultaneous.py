"""Intervals of several comparisons hold together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipelines.stats.cluster import estimate, estimate_paired
from pipelines.stats.equality import bound_equality
from pipelines.stats.simultaneous import level_of, widen
from pipelines.stats.sums import ClusterSums, PairedSums


def paired(values):
    return PairedSums.from_units(range(len(values)), np.zeros(len(values)), values)


@pytest.mark.parametrize("comparisons", [1, 2, 3, 10])
def test_each_is_a_t_interval_of_its_own_level(comparisons):
    """Of units that are alone in their clusters, evenly spread, it is the textbook's, by SciPy."""
    half = np.random.default_rng(3).normal(size=60)
    values = np.concatenate([half, -half]) + 0.4
    found = widen(estimate_paired(paired(values)), comparisons)
    level = 1 - 0.05 / comparisons
    expected = stats.t.interval(level, values.size - 1, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)
    assert level_of(comparisons) == pytest.approx(level)


def test_one_comparison_is_as_it_was():
    """Rates, differences, skewed ones and those without any keep their bounds."""
    random = np.random.default_rng(4)
    cluster = np.repeat(np.arange(40), 5)
    yes = (random.random(200) < 0.8).astype(float)
    rate = estimate(ClusterSums(*(np.bincount(cluster, each) for each in (yes, np.ones(200), yes))), "rate")
    skewed = estimate_paired(paired(random.pareto(1.5, 200)))
    same = bound_equality(estimate_paired(paired(np.zeros(50))), 3.0)
    for found, span in ((rate, 1.0), (skewed, 1.0), (same, 3.0)):
        again = widen(found, 1, span)
        assert [again.low, again.high] == pytest.approx([found.low, found.high])
        wider = widen(found, 5, span)
        assert wider.low is None or wider.low <= found.low
        assert wider.high is None or wider.high >= found.high
        assert (wider.theta, wider.reason, wider.verdict, wider.p) == (found.theta, found.reason, None, None)
    empty = estimate_paired(paired(np.zeros(0)))
    assert widen(empty, 3).low is None


def test_all_hold_together_nineteen_times_in_twenty():
    """Four candidates on the same units: their intervals all hold in 95 % of 300 samples, where single ones do not."""
    random = np.random.default_rng(5)
    holds, alone = 0, 0
    for _ in range(300):
        found = [estimate_paired(paired(random.normal(size=80))) for _ in range(4)]
        wide = [widen(each, 4) for each in found]
        holds += all(each.low <= 0 <= each.high for each in wide)
        alone += all(each.low <= 0 <= each.high for each in found)
    assert 0.93 <= holds / 300 <= 0.98
    assert alone / 300 < 0.88
