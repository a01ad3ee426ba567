"""Interval of a proportion that stays inside [0, 1] and does not collapse at 0 or 1."""

from __future__ import annotations

import math

from scipy.special import ndtri


def wilson_interval(rate: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided score interval of Wilson (1927).

    Args:
        rate: Observed proportion, 0 to 1.
        n: Independent observations, > 0; need not be whole (effective sample sizes are not).
        confidence: Level, for example 0.95.

    Returns:
        Lower and upper bound.
    """
    z = float(ndtri(0.5 + confidence / 2))
    scale = 1 + z * z / n
    centre = rate + z * z / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At a rate of 0 or 1 the bound is exact; the formula would miss it by rounding.
    low = 0.0 if rate == 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if rate == 1 else min(1.0, (centre + half) / scale)
    return low, high
