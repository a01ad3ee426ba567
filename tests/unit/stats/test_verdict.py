"""Verdicts: their order, what each needs, and what withholds them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.stats.cluster import estimate
from pipelines.stats.estimate import Estimate
from pipelines.stats.sums import ClusterSums
from pipelines.stats.verdict import equivalence_p, judge


def normal(theta, se, df=1000.0, reason=None, g=1001):
    """An estimate with a t interval."""
    half = 1.9623390808264078 * se  # t(.975) with 1000 degrees of freedom
    return Estimate(
        "difference",
        "unit",
        n=8000,
        g=g,
        g_changed=g,
        theta=theta,
        se=se,
        df=df,
        low=theta - half,
        high=theta + half,
        reason=reason,
    )


@pytest.mark.parametrize(
    ("theta", "se", "goal", "margin", "verdict"),
    [
        (0.10, 0.01, "higher", None, "improved"),
        (0.10, 0.01, "lower", None, "regressed"),
        (-0.10, 0.01, "higher", None, "regressed"),
        (-0.10, 0.01, "lower", None, "improved"),
        (0.10, 0.01, None, None, None),  # a metric of change has no better or worse
        (0.01, 0.01, "higher", None, "inconclusive"),
        (0.00, 0.01, "higher", None, "inconclusive"),  # no margin, no equivalent
        (0.00, 0.01, "higher", 0.05, "equivalent"),
        (0.00, 0.01, None, 0.05, "equivalent"),
        (0.02, 0.005, "higher", 0.05, "equivalent"),  # different and equivalent: equivalent comes first
        (0.10, 0.01, "higher", 0.05, "improved"),
        (-0.04, 0.01, "higher", 0.05, "regressed"),  # inside the margin, but the 90 % interval is not
    ],
)
def test_verdict_order(theta, se, goal, margin, verdict):
    """Equivalent, then improved or regressed, then inconclusive."""
    assert judge(normal(theta, se), goal=goal, margin=margin).verdict == verdict


def test_both_facts_are_kept():
    """A small certain difference is equivalent, and that it is different stays visible."""
    result = judge(normal(0.02, 0.005), goal="higher", margin=0.05)
    assert (result.is_equivalent, result.is_different, result.verdict) == (True, True, "equivalent")
    assert judge(normal(0.02, 0.005), goal="higher").is_equivalent is None


@pytest.mark.parametrize(
    ("theta", "goal", "margin", "holds"),
    [
        (0.0, "higher", 0.05, True),
        (-0.04, "higher", 0.05, False),
        (0.04, "lower", 0.05, False),
        (-0.5, "lower", 0.05, True),
        (0.0, None, 0.05, None),
        (0.0, "higher", None, None),
    ],
)
def test_non_inferior_looks_at_the_bad_side_only(theta, goal, margin, holds):
    """The 95 % bound must stay within the margin in the goal's direction; without goal or margin it is undefined."""
    assert judge(normal(theta, 0.01), goal=goal, margin=margin).is_non_inferior is holds


@given(st.floats(-1, 1), st.floats(0.001, 1), st.floats(0.001, 1), st.floats(1, 500))
def test_interval_and_two_one_sided_tests_agree(theta, se, margin, df):
    """The 90 % interval lies inside the margin exactly when both one-sided tests reject at 5 %."""
    result = judge(normal(theta, se, df=df), margin=margin)
    p = equivalence_p(result)
    if not math.isclose(p, 0.05, rel_tol=1e-9):
        assert result.is_equivalent == (p < 0.05)


@pytest.mark.parametrize(("off", "holds"), [(0.999, False), (1.001, True)])
def test_equivalence_is_a_90_percent_interval(off, holds):
    """The margin at which equivalence begins is the estimate plus the published t.95 with 10 degrees of freedom, 1.8125."""
    result = judge(normal(0.02, 0.01, df=10.0), margin=(0.02 + 1.812461 * 0.01) * off)
    assert result.is_equivalent is holds
    assert result.high90 == pytest.approx(0.02 + 1.812461 * 0.01)
    assert result.low90 == pytest.approx(0.02 - 1.812461 * 0.01)


def test_statsmodels_agrees_on_equivalence():
    """The two one-sided tests on singletons equal statsmodels' ttost_paired."""
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    random = np.random.default_rng(1)
    a = random.normal(size=80)
    b = a + random.normal(0.05, 0.5, size=80)
    result = judge(replace(estimate(ClusterSums(s=b - a, n=np.ones(80))), skewness=0.0), margin=0.2)
    theirs = weightstats.ttost_paired(b, a, -0.2, 0.2)[0]
    assert equivalence_p(result) == pytest.approx(theirs, rel=1e-9)


def test_small_samples_are_inconclusive():
    """Below 20 clusters even a certain difference is inconclusive, and says how many clusters are needed."""
    random = np.random.default_rng(2)
    result = judge(estimate(ClusterSums(s=5 + random.normal(size=19), n=np.ones(19))), goal="higher", margin=0.1)
    assert (result.verdict, result.reason) == ("inconclusive", "small_sample")
    assert (result.is_different, result.is_non_inferior) == (None, None)
    assert result.g_needed > 19


def test_few_changes_have_no_verdict():
    """With fewer than 5 conversations that differ there is no verdict at all, nor a promise of what could be found."""
    s = np.zeros(200)
    s[:4] = -1
    result = judge(estimate(ClusterSums(s=s, n=np.ones(200))), goal="higher", margin=0.5)
    assert (result.verdict, result.is_equivalent, result.mde, result.g_needed) == (None, None, None, None)
    assert result.reason == "few_changes"


def test_one_side_has_no_verdict():
    """A rate or mean of one side is judged neither better nor equivalent; one cluster gives nothing."""
    sums = ClusterSums(s=np.ones(50), n=np.full(50, 2.0))
    assert judge(estimate(sums, "rate"), goal="higher", margin=0.1).verdict is None
    assert judge(estimate(sums, "mean"), goal="higher", margin=0.1).verdict is None
    assert judge(estimate(ClusterSums(s=[1.0], n=[9])), goal="higher").verdict is None


def test_same_change_everywhere_is_a_verdict():
    """Every conversation improving by the same amount is improved, with reason no_variation beside it."""
    result = judge(estimate(ClusterSums(s=np.ones(50), n=np.ones(50))), goal="higher", margin=0.5)
    assert (result.verdict, result.reason, result.p) == ("improved", "no_variation", 0)


def test_needed_clusters_make_the_margin_detectable():
    """With g_needed clusters the detectable difference is at most the margin, with one fewer it is not."""
    result = judge(normal(0.0, 0.05), goal="higher", margin=0.1)
    scale = result.mde * math.sqrt(result.g)
    assert scale / math.sqrt(result.g_needed) <= 0.1 < scale / math.sqrt(result.g_needed - 1)
    # However wide the margin, fewer than 20 would still be a small sample.
    assert judge(normal(0.0, 0.05), goal="higher", margin=1e6).g_needed == 20


@pytest.mark.parametrize("margin", [0, -1, math.nan, math.inf])
def test_broken_margins_are_refused(margin):
    """A margin is a finite number above 0."""
    with pytest.raises(BadInputError, match="margin is"):
        judge(normal(0, 1), margin=margin)
