"""One word for an estimate, given the direction that is good and the difference that matters.

Only intervals decide. Words are for differences: a rate or mean of one side has nothing to be better than.
"""

from __future__ import annotations

import math
from dataclasses import replace

from scipy.special import stdtr, stdtrit

from pipelines.errors import BadInputError
from pipelines.stats.estimate import MIN_CLUSTERS, Estimate, Goal, Verdict
from pipelines.stats.power import clusters_needed, minimum_detectable


def judge(estimate: Estimate, *, goal: Goal | None = None, margin: float | None = None) -> Estimate:
    """Fill the verdict and the facts behind it.

    The first that holds: `equivalent` (90 % interval inside the margin: two one-sided tests at 5 %, Schuirmann 1987),
    `improved` or `regressed` (95 % interval on one side of 0), `inconclusive`. Without a margin nothing is equivalent;
    without a goal (a metric of change) nothing is improved or regressed. Non-inferiority asks that the 95 % interval
    does not reach past the margin on the bad side, and needs both.

    Args:
        estimate: An estimate of `cluster` or `noise_floor`.
        goal: Direction that is good, or None for a metric of change.
        margin: Largest difference that does not matter, in the metric's unit.

    Returns:
        The estimate with goal, margin, 90 % bounds, facts, verdict, `mde` and `g_needed`. With reason `small_sample`
        the verdict is inconclusive and the facts are None; with `few_changes`, without an interval, and for `mean` and
        `rate` the verdict is None too.

    Raises:
        BadInputError: The margin is not a finite number above 0.
    """
    if margin is not None and not 0 < margin < math.inf:
        raise BadInputError(f"margin is {margin}; write the largest difference that does not matter, above 0")
    judged = replace(estimate, goal=goal, margin=margin)
    theta, se, df, low, high = estimate.theta, estimate.se, estimate.df, estimate.low, estimate.high
    if estimate.estimand in {"mean", "rate"} or theta is None or se is None or df is None:
        return judged
    if se > 0 and estimate.reason in {None, "small_sample"}:  # else the standard error promises too much
        judged = replace(
            judged,
            mde=minimum_detectable(se),
            g_needed=None if margin is None else max(MIN_CLUSTERS, clusters_needed(se, estimate.g, margin)),
        )
    if low is None or high is None:
        return judged if estimate.reason != "small_sample" else replace(judged, verdict="inconclusive")
    t90 = float(stdtrit(df, 0.95))
    judged = replace(judged, low90=theta - t90 * se, high90=theta + t90 * se)
    if estimate.reason == "small_sample":
        return replace(judged, verdict="inconclusive")
    if estimate.reason == "few_changes":
        return judged
    is_equivalent = None if margin is None else -margin < theta - t90 * se and theta + t90 * se < margin
    return replace(
        judged,
        is_equivalent=is_equivalent,
        is_different=not low <= 0 <= high,
        is_non_inferior=_non_inferior(low, high, goal, margin),
        verdict="equivalent" if is_equivalent else _direction(low, high, goal),
    )


def equivalence_p(theta: float, se: float, df: float, margin: float) -> float:
    """p-value of two one-sided t tests (Schuirmann 1987): the larger of P(theta <= -margin) and P(theta >= margin).

    Args:
        theta: Estimated difference.
        se: Its standard error, > 0.
        df: Degrees of freedom, > 0.
        margin: Largest difference that does not matter, > 0.
    """
    return float(max(stdtr(df, -(theta + margin) / se), stdtr(df, (theta - margin) / se)))


def _direction(low: float, high: float, goal: Goal | None) -> Verdict:
    if goal is None or low <= 0 <= high:
        return "inconclusive"
    return "improved" if (low > 0) == (goal == "higher") else "regressed"


def _non_inferior(low: float, high: float, goal: Goal | None, margin: float | None) -> bool | None:
    if goal is None or margin is None:
        return None
    return low > -margin if goal == "higher" else high < margin
