"""A candidate that is the same everywhere: its bound, and how many more would do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from pipelines.stats.answer import Evidence, decide
from pipelines.stats.cluster import estimate
from pipelines.stats.equality import bound_equality, recorded_range
from pipelines.stats.sums import ClusterSums
from pipelines.stats.verdict import judge


def same(g: int, span: float, margin: float | None, goal: str = "lower"):
    """A judged difference of g conversations in which nothing differs."""
    found = estimate(ClusterSums(s=np.zeros(g), n=np.ones(g)))
    return judge(bound_equality(found, span), goal=goal, margin=margin)


@pytest.mark.parametrize("goal", ["lower", "higher"])
def test_the_share_that_could_differ_bounds_the_difference(goal):
    """No change in 318: Wilson's bound on that share, times the range; within the margin it ships."""
    found = same(318, 10.0, 0.2, goal)
    wilson = proportion_confint(0, 318, method="wilson")[1]
    assert found.high == pytest.approx(10 * wilson, rel=0.02)  # a little wider: t instead of normal
    assert found.high >= 10 * wilson
    assert (found.low, found.reason, found.verdict) == (-found.high, "no_change", "equivalent")
    assert (found.is_equivalent, found.is_non_inferior, found.is_different) == (True, True, False)
    assert decide(Evidence(metrics={"m": found}, primary="m", g=318)).word == "ship"


@settings(deadline=None)
@given(st.integers(20, 400), st.floats(0.5, 100), st.floats(0.01, 1))
def test_what_is_missing_is_what_would_do(g, span, part):
    """The answer is ship, or not enough data with a number; that many more would ship, and one fewer would not."""
    margin = span * part
    answer = decide(Evidence(metrics={"m": same(g, span, margin)}, primary="m", g=g))
    if answer.word == "ship":
        return
    assert answer.word == "not_enough_data"
    assert answer.g_more is not None
    enough = g + answer.g_more
    assert same(enough + 2, span, margin).is_equivalent
    assert not same(max(20, enough - 1 - enough // 20), span, margin).is_equivalent


def test_few_clusters_say_how_many_would_do():
    """Below 20 no verdict is given; the number is that of the margin, not of 20 alone."""
    found = same(8, 10.0, 0.2)
    assert (found.reason, found.verdict, found.is_equivalent) == ("small_sample", "inconclusive", None)
    answer = decide(Evidence(metrics={"m": found}, primary="m", g=8))
    assert answer.word == "not_enough_data"
    assert answer.g_more > 150


def test_without_a_margin_there_is_nothing_to_be_equal_within():
    """The bound is there, and no verdict of equality; a difference somewhere keeps its own reason."""
    found = same(300, 1.0, None)
    assert (found.verdict, found.is_equivalent, found.g_needed) == ("inconclusive", None, None)
    s = np.zeros(300)
    s[:3] = 1
    few = bound_equality(estimate(ClusterSums(s=s, n=np.ones(300))), 1.0)
    assert few.reason == "few_changes"


@pytest.mark.parametrize(
    ("lowest", "highest", "span"),
    [(0, 1, 1), (0, 0, 1), (1, 1, 1), (-5, 20, 25), (3, 3, 3), (-4, -4, 4), (1000, 1010, 10), (0, 0.5, 0.5)],
)
def test_recorded_range(lowest, highest, span):
    """The distance of the extremes; of yes or no it is 1; of one number throughout its distance to 0."""
    assert recorded_range(lowest, highest) == span
