"""Tests of a paired yes/no outcome: does the candidate gain as often as it loses?

Exact and mid-p McNemar hold for one pair per cluster; with several pairs per cluster they give about twice the promised
false alarms, and the clustered form is the one to use. The size of the effect is `cluster.estimate_paired`'s business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, chdtrc

from pipelines.errors import BadInputError
from pipelines.stats.sums import FloatArray, PairedSums


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A chi-square test with one degree of freedom.

    Attributes:
        statistic: The test statistic; None if no pair is discordant (it would be 0/0).
        p: Its p-value; None likewise.
    """

    statistic: float | None
    p: float | None


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value: twice the smaller binomial tail of the discordant pairs, at most 1.

    Args:
        only_a: Pairs in which only side A succeeded.
        only_b: Pairs in which only side B succeeded.

    Returns:
        p in (0, 1]; 1 without discordant pairs.
    """
    _check(only_a, only_b)
    return min(1.0, 2 * _tail(only_a, only_b))


def mcnemar_clustered(gained: FloatArray) -> ChiSquare:
    """McNemar for several pairs per cluster: `(K-1)/K (sum_k d_k)^2 / sum_k d_k^2` (Obuchowski 1998).

    Args:
        gained: Per cluster the pairs in which only B succeeded minus those in which only A did, shape (clusters,);
            clusters without a discordant pair belong in it, as 0.
    """
    squares = math.fsum(gained**2)
    if squares == 0:
        return ChiSquare(None, None)
    clusters = gained.size
    return _chi_square((clusters - 1) / clusters * math.fsum(gained) ** 2 / squares)


@dataclass(frozen=True, slots=True)
class PairedBinary:
    """A yes/no outcome of both sides of the same units, in clusters.

    Attributes:
        only_a: Units in which only A succeeded.
        only_b: Units in which only B did.
        p_exact: Exact McNemar; None where a cluster holds several units, for then it promises too much.
        p_clustered: Obuchowski's form; None if no unit is discordant.
    """

    only_a: int
    only_b: int
    p_exact: float | None
    p_clustered: float | None


def compare_paired_binary(sums: PairedSums) -> PairedBinary:
    """Test whether B gains as often as it loses.

    Args:
        sums: Of outcomes that are 0 or 1.

    Raises:
        BadInputError: The sums are of something else: squares are not what they are of.
    """
    if not (np.array_equal(sums.a, sums.aa) and np.array_equal(sums.b, sums.bb)):
        raise BadInputError("a yes/no outcome is 0 or 1 per unit, its own square; these sums are of something else")
    used = sums.n > 0
    only_a, only_b = (round(math.fsum(side - sums.ab)) for side in (sums.a, sums.b))
    is_single = bool((sums.n <= 1).all())
    return PairedBinary(
        only_a,
        only_b,
        p_exact=mcnemar_exact(only_a, only_b) if is_single and used.any() else None,
        p_clustered=mcnemar_clustered((sums.b - sums.a)[used]).p,
    )


def _tail(only_a: int, only_b: int) -> float:
    return float(bdtr(min(only_a, only_b), only_a + only_b, 0.5))


def _chi_square(statistic: float) -> ChiSquare:
    return ChiSquare(statistic, float(chdtrc(1, statistic)))


def _check(only_a: int, only_b: int) -> None:
    if min(only_a, only_b) < 0:
        raise BadInputError(f"discordant pairs are {only_a} and {only_b}; counts cannot be negative")
