"""Intervals that all hold together: each at the level at which their number lets all of them miss once in twenty at most."""

from __future__ import annotations

from dataclasses import replace

from scipy.special import ndtri, stdtrit

from pipelines.stats.equality import bound_equality
from pipelines.stats.estimate import Estimate
from pipelines.stats.skew import bound
from pipelines.stats.wilson import wilson_interval

LEVEL = 0.95
"""Chance, at least, that all intervals of a family hold."""


def level_of(comparisons: int) -> float:
    """The level of each interval of so many: Bonferroni, whatever they have in common."""
    return 1 - (1 - LEVEL) / max(1, comparisons)


def widen(found: Estimate, comparisons: int, span: float = 0.0) -> Estimate:
    """An estimate with the bounds of one among several comparisons; its p, q and verdict are not those of that family, and go.

    Args:
        found: An estimate with bounds of 95 %.
        comparisons: How many there are together.
        span: By how much a cluster could differ, for a difference that is 0 in every cluster; 0 when that is not known.
    """
    alone = replace(found, p=None, p_sign_flip=None, q=None, verdict=None, low90=None, high90=None)
    if found.theta is None or found.df is None:
        return alone
    level = level_of(comparisons)
    t, z = float(stdtrit(found.df, 0.5 + level / 2)), float(ndtri(0.5 + level / 2))
    if found.estimand == "rate":
        if found.n_eff is None:
            return alone
        usual = float(ndtri(0.5 + LEVEL / 2)) / float(stdtrit(found.df, 0.5 + LEVEL / 2))
        low, high = wilson_interval(found.theta, found.n_eff * (z / t / usual) ** 2, level)
        return replace(alone, low=low, high=high)
    if not found.g_changed:
        reason = "few_changes" if found.reason == "no_change" else found.reason
        return bound_equality(replace(alone, low=None, high=None, reason=reason), span, level)
    return replace(alone, low=bound(found, "low", t), high=bound(found, "high", t))
