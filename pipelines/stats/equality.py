"""What "the same everywhere" says about those that were not seen.

Where no cluster differs there is no spread to make an interval of, and one of [0, 0] would promise what no sample can. But the
share of clusters that could differ is bounded, as that of any event seen 0 times in g; and one that differs, differs by the
metric's range at most, as far as it was recorded.
"""

from __future__ import annotations

import math
from dataclasses import replace

from scipy.special import ndtri, stdtrit

from pipelines.stats.estimate import MIN_CLUSTERS, Estimate, Reason
from pipelines.stats.wilson import wilson_interval

_Z = float(ndtri(0.975))


def recorded_range(lowest: float, highest: float) -> float:
    """By how much a metric could change, given its lowest and highest value on either side.

    The distance of the two; a metric that was one number throughout could fall to 0, and one of yes or no can be the other.
    """
    if lowest in (0, 1) and highest in (0, 1):
        return 1.0
    return highest - lowest or abs(highest)


def bound_equality(found: Estimate, span: float, level: float = 0.95) -> Estimate:
    """Bounds of a difference that is 0 in every cluster: the share that could differ, times `span`.

    The share is bounded by Wilson's interval at 0 of g clusters, `(1.96/t)^2` of them for their unequal sizes.

    Args:
        found: A difference.
        span: By how much one cluster could differ, > 0; in the metric's unit.
        level: Of the interval.

    Returns:
        The estimate with bounds and `span`, and with reason `no_change` where there are clusters enough; as it was if any differs.
    """
    if (
        found.reason not in ("few_changes", "small_sample")
        or found.g_changed
        or found.df is None
        or not 0 < span < math.inf
    ):
        return found
    reason: Reason = "no_change" if found.reason == "few_changes" else "small_sample"
    z, t = float(ndtri(0.5 + level / 2)), float(stdtrit(found.df, 0.5 + level / 2))
    share = wilson_interval(0.0, found.g * (z / t) ** 2, level)[1]
    return replace(found, low=-share * span, high=share * span, span=span, reason=reason)


def clusters_to_bound(found: Estimate) -> int | None:
    """Clusters in which no change would keep the difference within its margin; None without a margin."""
    if found.margin is None or found.span is None or found.df is None:
        return None
    times = max(0.0, found.span / found.margin - 1)
    df = max(1.0, (found.df + 1) / found.g * _Z * _Z * times - 1)  # of about as many as will do
    return max(MIN_CLUSTERS, math.floor(float(stdtrit(df, 0.975)) ** 2 * times) + 1)
