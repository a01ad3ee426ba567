"""Bounds of what has a long tail: how far they reach, when they are not given, and that the one answer is seldom wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, t

from pipelines.stats.answer import Evidence, decide
from pipelines.stats.cluster import estimate, estimate_segments
from pipelines.stats.skew import is_even, quantile_reached, reach
from pipelines.stats.sums import ClusterSums
from pipelines.stats.verdict import judge
from tests.acceptance.skewed_answers import HARMLESS, WORSE, sample, words

RUNS = 250


@pytest.mark.parametrize("line", WORSE, ids=lambda line: line.name)
def test_what_is_worse_by_the_margin_seldom_ships(line):
    """At most 6 % of the runs in whose sample the loss is, at 40 and 200 clusters, but for chance."""
    for g in (40, 200):
        wrong = sum(
            int(((np.array(words(each.found)) == "ship") & each.is_seen).sum())
            for each in sample(line, g, RUNS, seed=5)
        )
        assert wrong / RUNS <= 0.06 + 3 * math.sqrt(0.06 * 0.94 / RUNS)


@pytest.mark.parametrize("line", HARMLESS, ids=lambda line: line.name)
def test_what_is_no_worse_is_seldom_refused(line):
    """At most 3 % are refused, but for chance; money that is better by 2 margins ships in most runs."""
    found = [word for each in sample(line, 200, RUNS, seed=5) for word in words(each.found)]
    assert found.count("do_not_ship") / RUNS <= 0.03 + 3 * math.sqrt(0.03 * 0.97 / RUNS)
    if "better" in line.name:
        assert found.count("ship") > RUNS / 2


@settings(deadline=None)
@given(st.floats(0.1, 20), st.floats(-2, 2))
def test_the_quantile_reached_is_the_inverse(quantile, skewness):
    """What a quantile reaches is reached by that quantile; without skewness both are the same."""
    assert quantile_reached(reach(quantile, skewness), skewness) == pytest.approx(quantile, rel=1e-9)
    assert reach(quantile, -abs(skewness)) == quantile


@pytest.mark.parametrize("events", [10, 20, 50, 200])
def test_counts_of_rare_events_have_bounds_like_the_exact_ones(events):
    """The upper bound of a rare share is about the exact one (Clopper & Pearson 1934), never below it and at most 6 % above."""
    g = 4000
    s = np.zeros(g)
    s[:events] = 1
    found = estimate(ClusterSums(s=s, n=np.ones(g)))
    exact = g * beta.ppf(0.975, events + 1, g - events)
    if found.high is None:
        assert events < 16
    else:
        assert exact <= found.high * g <= 1.06 * exact


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([20, 60, 150]), st.sampled_from([0.02, 0.2, 1.0]), st.floats(0.5, 2.5))
def test_interval_and_p_agree(seed, g, share, sigma):
    """p is below 5 % exactly where 0 lies outside of the interval, and is not given where a missing bound would decide."""
    random = np.random.default_rng(seed)
    n = random.geometric(1 / 4, g).astype(float)
    s = (random.random(g) < share) * random.lognormal(0, sigma, g) * random.choice([-1, 1]) + random.normal(0, 0.05, g)
    found = estimate(ClusterSums(s=s, n=n))
    bound = found.low if found.theta > 0 else found.high
    if bound is None:
        assert (found.p, found.reason) == (None, "skewed")
    elif abs(bound) > 1e-9 * abs(found.theta):
        assert (found.p < 0.05) == (bound * found.theta > 0)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["lower", "higher"]))
def test_mirrored_data_have_the_mirrored_answer(seed, goal):
    """Losses for `lower` are gains for `higher`: all numbers change their sign, and the answer stays."""
    random = np.random.default_rng(seed)
    s = random.lognormal(0, 2, 80) * (random.random(80) < 0.3) - random.choice([0.0, 0.5, 3.0])
    sums = [ClusterSums(s=sign * s, n=np.ones(80)) for sign in (1, -1)]
    other = "higher" if goal == "lower" else "lower"
    one, two = (judge(estimate(each), goal=way, margin=0.4) for each, way in zip(sums, (goal, other), strict=True))
    assert (one.verdict, one.reason, one.is_non_inferior) == (two.verdict, two.reason, two.is_non_inferior)
    assert (one.low is None, one.high is None) == (two.high is None, two.low is None)
    assert one.low is None or one.low == pytest.approx(-two.high)
    answers = [decide(Evidence(metrics={"m": each}, primary="m", g=80)) for each in (one, two)]
    assert answers[0].word == answers[1].word
    assert answers[0].g_more == answers[1].g_more


def test_order_scale_and_empty_clusters_change_nothing():
    """Rows in another order give the same bits; another unit of the metric the same shape; huge and tiny numbers do not overflow."""
    random = np.random.default_rng(4)
    n = random.geometric(1 / 8, 300).astype(float)
    s = random.lognormal(0, 1.5, 300) * (random.random(300) < 0.5)
    order = random.permutation(300)
    one, two = (estimate(ClusterSums(s=s[rows], n=n[rows])) for rows in (np.arange(300), order))
    assert one == two
    for factor in (1e-90, 1e90):
        scaled = estimate(ClusterSums(s=s * factor, n=n))
        assert (scaled.skewness, scaled.spread, scaled.lean) == pytest.approx((one.skewness, one.spread, one.lean))
    pair = estimate_segments(
        ClusterSums(s=np.concatenate([s, s]), n=np.concatenate([n, n])), np.repeat([0, 1], 300), 3, sign_flip=False
    )
    assert pair[0] == pair[1] == replace(one, p_sign_flip=None)
    assert pair[2].reason == "no_units"


def test_symmetric_bounds_are_students():
    """Where nothing is skewed the interval is that of the t distribution."""
    s = np.linspace(-1, 2, 51)
    found = estimate(ClusterSums(s=s, n=np.ones(51)))
    assert found.high - found.theta == pytest.approx(t.ppf(0.975, 50) * found.se)
    assert is_even(found, "low")
    assert is_even(found, "high")


def test_a_tail_hides_the_bound_on_its_side_alone():
    """Six large losses among 200 conversations: worse for certain, by how much at most is not said; about how many would say it."""
    s = np.full(200, 0.02)
    s[:6] = (5, 7, 9, 20, 4, 6)
    harm = judge(estimate(ClusterSums(s=s, n=np.ones(200))), goal="lower", margin=0.01)
    assert (harm.reason, harm.high, harm.is_equivalent, harm.is_non_inferior) == ("skewed", None, False, False)
    assert harm.g_needed > 200
    assert harm.low is not None
    gain = judge(estimate(ClusterSums(s=-s, n=np.ones(200))), goal="lower", margin=0.01)
    assert (gain.low, gain.high) == (None, pytest.approx(-harm.low))
    answer = decide(Evidence(metrics={"m": harm}, primary="m", g=200))
    assert answer.word == ("do_not_ship" if harm.verdict == "regressed" else "not_enough_data")


def test_one_tail_that_showed_itself_is_not_taken_for_rare_savings():
    """Large amounts saved and two lost among 40: what was lost is not known, so no bound; without the losses it is."""
    saved = [-9.0, -5.0, -3.0, -2.0]
    both = estimate(ClusterSums(s=np.array([*saved, 2.0, 0.5, *[0.0] * 34]), n=np.ones(40)))
    assert both.lean is not None
    assert both.lean < -0.5
    assert (both.high, both.reason) == (None, "skewed")
    assert estimate(ClusterSums(s=np.array([*saved, -1.0, *[0.0] * 35]), n=np.ones(40))).high is not None


def test_a_few_customers_with_nearly_all_units_are_a_small_sample():
    """Thirty clusters of which three hold nearly everything are three in effect, whatever they say."""
    n = np.array([1000.0] * 3 + [1.0] * 27)
    found = judge(estimate(ClusterSums(s=-n, n=n, squares=n)), goal="lower", margin=0.1)
    assert (found.reason, found.verdict) == ("small_sample", "inconclusive")
