"""Planning: what difference a sample can find, and how large a sample must be.

Two-sided 5 % and 80 % power unless stated; with those, the factor on a standard error is 2.80.
"""

from __future__ import annotations

import math

from scipy.special import ndtri

from pipelines.errors import BadInputError


def _factor(alpha: float, power: float) -> float:
    return float(ndtri(1 - alpha / 2) + ndtri(power))


def minimum_detectable(
    se: float, *, g_pilot: int = 1, g_plan: int = 1, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Difference found with `power` by `g_plan` clusters like the `g_pilot` that gave `se`; unit of the metric.

    `(z_(1-alpha/2) + z_power) se sqrt(g_pilot / g_plan)`.
    """
    return _factor(alpha, power) * se * math.sqrt(g_pilot / g_plan)


def clusters_needed(se: float, g_pilot: int, difference: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Clusters with which `minimum_detectable` is at most `difference`; the inverse of it, rounded up.

    Raises:
        BadInputError: `difference` is not above 0.
    """
    if not difference > 0:
        raise BadInputError(f"difference is {difference}; it must be above 0")
    return math.ceil(g_pilot * (_factor(alpha, power) * se / difference) ** 2)
