"""Planning: what difference a sample can find, and how large a sample must be.

Two-sided 5 % and 80 % power unless stated; with those, the factor on a standard error is 2.80.
"""

from __future__ import annotations

import math

import numpy as np
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
    _positive("difference", difference)
    return math.ceil(g_pilot * (_factor(alpha, power) * se / difference) ** 2)


def design_effect(cluster_size: float, icc: float) -> float:
    """Factor on the number of units when they come in clusters: `1 + (m - 1) ICC` (Kish 1965)."""
    return 1 + (cluster_size - 1) * icc


def units_needed(
    omega2: float,
    difference: float,
    *,
    sigma2_a: float = 0.0,
    sigma2_b: float = 0.0,
    draws_a: int = 1,
    draws_b: int = 1,
    effect: float = 1.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Pairs needed for a paired mean (Miller 2024, arXiv:2411.00640, sample-size formula).

    `(z_(alpha/2) + z_power)^2 (omega^2 + sigma_A^2/K_A + sigma_B^2/K_B) / difference^2`, times the design effect.

    Args:
        omega2: Variance over units of the difference of the two sides' expected values.
        difference: Difference to be found, > 0.
        sigma2_a: Mean variance of repeated draws of one unit, side A.
        sigma2_b: The same, side B.
        draws_a: Draws averaged per unit, side A.
        draws_b: The same, side B.
        effect: Design effect of clustering.
        alpha: Two-sided error of the first kind.
        power: Probability of finding the difference.

    Returns:
        Number of pairs, not rounded.

    Raises:
        BadInputError: `difference` is not above 0.
    """
    _positive("difference", difference)
    variance = omega2 + sigma2_a / draws_a + sigma2_b / draws_b
    return effect * _factor(alpha, power) ** 2 * variance / difference**2


def binary_pairs_needed(
    only_a: float, only_b: float, *, sides: int = 2, effect: float = 1.0, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Pairs needed for a paired yes/no outcome (Connor 1987).

    `(z sqrt(psi) + z_power sqrt(psi - delta^2))^2 / delta^2`, `psi = only_a + only_b`, `delta = only_b - only_a`.

    Args:
        only_a: Expected share of pairs in which only A succeeds.
        only_b: Expected share of pairs in which only B succeeds.
        sides: 2 or 1.
        effect: Design effect of clustering.
        alpha: Error of the first kind.
        power: Probability of finding the difference.

    Returns:
        Number of pairs, not rounded.

    Raises:
        BadInputError: The shares are not shares, or are equal: no sample finds a difference of 0.
    """
    _shares(only_a, only_b)
    _positive("difference of the shares", abs(only_b - only_a))
    psi, delta = only_a + only_b, only_b - only_a
    z = ndtri(1 - alpha / sides)
    return effect * float((z * math.sqrt(psi) + ndtri(power) * math.sqrt(psi - delta**2)) ** 2 / delta**2)


def mcnemar_power(pairs: int, only_a: float, only_b: float, *, sides: int = 2, alpha: float = 0.05) -> float:
    """Probability that the exact McNemar test rejects, summed over every number of discordant pairs.

    Args:
        pairs: Independent pairs.
        only_a: Share of pairs in which only A succeeds.
        only_b: Share of pairs in which only B succeeds.
        sides: 2, or 1 for the side on which the larger share lies.
        alpha: Error of the first kind.

    Raises:
        BadInputError: The shares are not shares.
    """
    from scipy.stats import binom  # noqa: PLC0415 -- 50 MB that verbs without a summary need not hold

    _shares(only_a, only_b)
    psi = only_a + only_b
    if psi == 0:
        return 0.0

    larger = max(only_a, only_b) / psi
    discordant = np.arange(pairs + 1)
    # The largest count of the rarer kind that still rejects; below it lies the rejection region of one tail.
    limit = binom.ppf(alpha / sides, discordant, 0.5)
    limit = np.where(binom.cdf(limit, discordant, 0.5) > alpha / sides, limit - 1, limit)
    rejects = binom.cdf(limit, discordant, 1 - larger)
    if sides == 2:
        rejects = rejects + binom.cdf(limit, discordant, larger)
    return float(np.sum(binom.pmf(discordant, pairs, psi) * rejects))


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise BadInputError(f"{name} is {value}; it must be above 0")


def _shares(only_a: float, only_b: float) -> None:
    if min(only_a, only_b) < 0 or only_a + only_b > 1:
        raise BadInputError(f"shares are {only_a} and {only_b}; each must be at least 0 and their sum at most 1")
