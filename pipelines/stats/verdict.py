"""One word for an estimate, given the direction that is good and the difference that matters.

Only intervals decide. Words are for differences: a rate or mean of one side has nothing to be better than.
"""

from __future__ import annotations

import math
from dataclasses import replace

from scipy.special import stdtr, stdtrit

from pipelines.errors import BadInputError
from pipelines.stats.equality import clusters_to_bound
from pipelines.stats.estimate import MIN_CLUSTERS, MIN_EFFECTIVE, Estimate, Goal, Verdict
from pipelines.stats.power import clusters_needed, minimum_detectable
from pipelines.stats.skew import Side, bound, clusters_to_even, quantile_reached, skewness_towards


def judge(estimate: Estimate, *, goal: Goal | None = None, margin: float | None = None) -> Estimate:
    """Fill the verdict and the facts behind it.

    The first that holds: `equivalent` (90 % interval inside the margin: two one-sided tests at 5 %, Schuirmann 1987),
    `improved` or `regressed` (95 % interval on one side of 0), `inconclusive`. Without a margin nothing is equivalent;
    without a goal (a metric of change) there is no verdict: nothing is improved or regressed. Non-inferiority asks that the
    95 % bound on the bad side does not reach past the margin, and needs both.

    Args:
        estimate: An estimate of `cluster`, `equality` or `noise_floor`.
        goal: Direction that is good, or None for a metric of change.
        margin: Largest difference that does not matter, in the metric's unit.

    Returns:
        The estimate with goal, margin, 90 % bounds, facts, verdict, `mde` and `g_needed`. With reason `small_sample`
        the verdict is inconclusive and the facts are None; with `few_changes`, without an interval, and for `mean` and
        `rate` the verdict is None too; with `skewed` whatever a missing bound would decide is None.

    Raises:
        BadInputError: The margin is not a finite number above 0.
    """
    if margin is not None and not 0 < margin < math.inf:
        raise BadInputError(f"margin is {margin}; write the largest difference that does not matter, above 0")
    judged = replace(estimate, goal=goal, margin=margin)
    if estimate.estimand in {"mean", "rate"} or estimate.theta is None or estimate.se is None or estimate.df is None:
        return judged
    judged = replace(judged, mde=_detectable(judged))
    judged = replace(judged, g_needed=_needed(judged))
    if estimate.reason == "small_sample":
        judged = replace(judged, verdict=None if goal is None else "inconclusive")
    if estimate.span is not None:
        judged = replace(judged, low90=estimate.low, high90=estimate.high)
    elif estimate.low is not None or estimate.high is not None:
        t90 = float(stdtrit(estimate.df, 0.95))
        judged = replace(judged, low90=bound(estimate, "low", t90), high90=bound(estimate, "high", t90))
    if not estimate.has_bounds or (estimate.low is None and estimate.high is None):
        return judged
    judged = replace(
        judged,
        is_equivalent=_equivalent(judged),
        is_different=_different(judged),
        is_non_inferior=_non_inferior(judged),
    )
    judged = replace(judged, verdict=_verdict(judged))
    is_unexplained = judged.verdict is None and judged.reason is None
    return replace(judged, reason="no_goal") if is_unexplained else judged


def equivalence_p(judged: Estimate) -> float | None:
    """p-value of two one-sided t tests (Schuirmann 1987): the larger of P(theta <= -margin) and P(theta >= margin).

    At most 5 % exactly where the 90 % interval, as it is given, lies within the margin. None where there is no telling.
    """
    theta, se, df, margin = judged.theta, judged.se, judged.df, judged.margin
    if judged.is_equivalent is None or judged.low90 is None or judged.high90 is None:
        return None
    if theta is None or not se or df is None or margin is None:
        return None
    distances: dict[Side, float] = {"low": (theta + margin) / se, "high": (margin - theta) / se}
    reached = (quantile_reached(away, skewness_towards(judged, side)) for side, away in distances.items())
    return float(max(stdtr(df, -quantile) for quantile in reached))


def _detectable(judged: Estimate) -> float | None:
    """None where the standard error promises too much."""
    is_trusted = judged.se and judged.reason in (None, "small_sample", "skewed")
    return minimum_detectable(judged.se) if judged.se and is_trusted else None


def _needed(judged: Estimate) -> int | None:
    """Clusters with which the margin is detectable and both bounds are given; None without a margin where both are."""
    if judged.span is not None:
        return clusters_to_bound(judged)
    needed = clusters_to_even(judged) if judged.reason == "skewed" else None
    if judged.reason == "small_sample" and judged.g_star:
        needed = max(MIN_CLUSTERS, math.ceil(judged.g * MIN_EFFECTIVE / judged.g_star))
    if judged.margin is None or judged.se is None or judged.mde is None:
        return needed
    return max(MIN_CLUSTERS, clusters_needed(judged.se, judged.g, judged.margin), needed or 0)


def _inside(low: float | None, high: float | None, margin: float) -> bool | None:
    """Whether an interval lies within the margin; None where that hangs on a bound that is missing."""
    if any(value is not None and abs(value) >= margin for value in (low, high)):
        return False
    return None if low is None or high is None else True


def _equivalent(judged: Estimate) -> bool | None:
    return None if judged.margin is None else _inside(judged.low90, judged.high90, judged.margin)


def _different(judged: Estimate) -> bool | None:
    low, high = judged.low, judged.high
    if (low is not None and low > 0) or (high is not None and high < 0):
        return True
    return None if low is None or high is None else False


def _non_inferior(judged: Estimate) -> bool | None:
    if judged.goal is None or judged.margin is None:
        return None
    sign = -1 if judged.goal == "higher" else 1
    bad, good = (judged.low, judged.high) if judged.goal == "higher" else (judged.high, judged.low)
    if bad is not None:
        return sign * bad < judged.margin
    return False if good is not None and sign * good >= judged.margin else None


def _verdict(judged: Estimate) -> Verdict | None:
    if judged.is_equivalent:
        return "equivalent"
    if judged.goal is None:
        return None
    if judged.is_different:
        is_above = judged.low is not None and judged.low > 0
        return "improved" if is_above == (judged.goal == "higher") else "regressed"
    return None if judged.low is None or judged.high is None else "inconclusive"
