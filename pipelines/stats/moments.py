"""The CR1 standard error from six SQL aggregates, for engines that keep no per-cluster rows.

The headline standard error needs a second pass over the clusters (`cluster`); this one does not, which is why it is
offered beside it and serves as its check.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from pipelines.errors import BadInputError
from pipelines.stats.estimate import Reason

Exact = int | float | Decimal
"""What SQL aggregates come back as: HUGEINT as int, DECIMAL as Decimal, DOUBLE as float."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Aggregates over clusters with `s` = sum and `n` = units of one cluster.

    Attributes:
        g: `count(*)` of clusters with n > 0.
        s: `sum(s)`.
        n: `sum(n)`.
        ss: `sum(s * s)`.
        sn: `sum(s * n)`.
        nn: `sum(n * n)`.
    """

    g: int
    s: Exact
    n: int
    ss: Exact
    sn: Exact
    nn: int


@dataclass(frozen=True, slots=True)
class Cr1:
    """A mean and its CR1 standard error.

    Attributes:
        theta: `s / n`; None without units.
        se: CR1 standard error; None below two clusters.
        g_star: `n^2 / nn`, the effective number of clusters; None without units.
        reason: Why something is None.
    """

    theta: float | None
    se: float | None
    g_star: float | None
    reason: Reason | None = None


def cr1_from_moments(moments: Moments) -> Cr1:
    """`se^2 = g/(g-1) (ss - 2 theta sn + theta^2 nn) / n^2` (Miller 2024, arXiv:2411.00640, with the CR1 factor).

    The bracket cancels almost entirely when clusters agree, so it is computed in rational arithmetic: with integer
    aggregates the result is exact to the last bit.

    Raises:
        BadInputError: The aggregates contradict one another, or are not finite.
    """
    try:
        s, ss, sn = Fraction(moments.s), Fraction(moments.ss), Fraction(moments.sn)
    except (ValueError, OverflowError) as error:
        raise BadInputError(
            f"{moments} holds a value that is not finite; leave such units out and count them"
        ) from error
    g, n, nn = moments.g, moments.n, moments.nn
    if g < 0 or n < g or nn < n or (g == 0 and n > 0):
        raise BadInputError(f"{moments}: g <= n <= nn must hold; aggregate over clusters with at least one unit")
    if n == 0:
        return Cr1(None, None, None, "no_units")
    theta = s / n
    g_star = float(Fraction(n * n, nn))
    if g == 1:
        return Cr1(float(theta), None, g_star, "one_cluster")
    bracket = ss - 2 * theta * sn + theta**2 * nn
    variance = Fraction(g, g - 1) * max(bracket, Fraction(0)) / n**2  # float aggregates can leave it below 0
    return Cr1(float(theta), math.sqrt(variance), g_star)
