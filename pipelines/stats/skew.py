"""What a long tail does to a mean's bounds: how much further they reach, and when one of them cannot be given.

A t bound takes for granted that the mean is as likely to be too low as too high. Sums with a long tail are not: a sample that
happened to miss the tail has a small mean and a small standard error together, and its bound on that side is far too near.
Two things cure most of it, both from sums over clusters:

- the bound on the tail's side reaches further, by the skewness of the mean (`reach`);
- where a few clusters make up the spread, that bound is not given at all (`spread_due`): what was not seen decides there.

The bound on the other side is never widened nor withheld; it errs on the safe side already.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pipelines.stats.estimate import Estimate
from pipelines.stats.sums import FloatArray

Side = Literal["low", "high"]
SIDES: tuple[Side, ...] = get_args(Side)

_SIZE_POWERS = (0.5, 1.0)
"""Errors of clusters grow with their size like its root (units that do not resemble each other) up to like itself."""
_FAINT_LEAN = 0.5
"""Lean below which skewness counts in proportion: symmetric errors lean by about 0.2 by chance in 40 clusters."""
_TAIL_FACTOR = 0.5
_LEAST_SPREAD = 8.0
_LEAST_TAIL = 5.0
"""Effective clusters beyond the mean on a bound's own side, where all of them are too few to say that both sides are alike."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """How the errors of clusters are spread, one entry per segment; NaN where they do not vary.

    With `e` a cluster's error and `r` the same in units of what its size alone makes of it (`e / n^p`, p of 1/2 and 1 the one
    that leaves the larger spread):

    Attributes:
        skewness: Of the mean: `sum e^3 / (sum e^2)^1.5`, less where the lean is faint.
        spread: Effective number of clusters that make up the variance: `(sum r^2)^2 / sum r^4`, 1 to g.
        lean: Which way: `sum r^3 / sqrt(sum r^2 sum r^4)`, -1 (all of it below the mean) to 1 (all above).
        tail_low: `spread` of the errors below 0 alone.
        tail_high: Of those above.
    """

    skewness: FloatArray
    spread: FloatArray
    lean: FloatArray
    tail_low: FloatArray
    tail_high: FloatArray


def measure_shape(
    size: FloatArray,
    squares: FloatArray,
    cubes: FloatArray,
    fourths: FloatArray,
    above: tuple[FloatArray, FloatArray],
    add_up: Callable[[FloatArray], FloatArray],
) -> Shape:
    """The shape of scaled errors, `sum e^2 = 1` per segment.

    Args:
        size: Units of a cluster, per cell (clusters of one segment and size).
        squares: Sum of the squared errors per cell.
        cubes: Of their cubes.
        fourths: Of their fourth powers.
        above: Squares and fourth powers of those above 0 alone.
        add_up: Adds a number per cell up per segment.
    """
    spreads, leans, tails = [], [], []
    high_squares, high_fourths = above
    low_squares, low_fourths = squares - high_squares, fourths - high_fourths
    for power in _SIZE_POWERS:
        unit = size**power
        second, third, fourth = (add_up(sums / unit**order) for order, sums in ((2, squares), (3, cubes), (4, fourths)))
        spreads.append(second**2 / fourth)
        leans.append(third / np.sqrt(second * fourth))
        tails.append(
            [
                add_up(np.maximum(second_of, 0.0) / unit**2) ** 2 / add_up(np.maximum(fourth_of, 0.0) / unit**4)
                for second_of, fourth_of in ((low_squares, low_fourths), (high_squares, high_fourths))
            ]
        )
    first, other = spreads
    lean = np.where(first >= other, *leans)
    faint = np.minimum(1.0, np.abs(lean) / _FAINT_LEAN)
    low, high = (np.where(first >= other, *pair) for pair in zip(*tails, strict=True))
    return Shape(add_up(cubes) * faint, np.maximum(first, other), lean, low, high)


def skewness_towards(found: Estimate, side: Side) -> float:
    """The skewness that moves a bound outwards, where it is positive."""
    skewness = found.skewness or 0.0
    return skewness if side == "high" else -skewness


def spread_due(found: Estimate, side: Side) -> float:
    """Effective clusters that must make up the spread for a bound to be given.

    `8 (1 + lean |lean|)`, with the lean towards that side: 16 when all of the variance comes from there, 0 when none does.
    """
    lean = found.lean or 0.0
    return _LEAST_SPREAD * (1 + (lean if side == "high" else -lean) * abs(lean))


def is_even(found: Estimate, side: Side) -> bool:
    """Whether enough clusters make up the spread for a bound to be given.

    Where less than `8` do, and lean away from the bound, these may be one of two tails that happened to show itself, so those on
    the bound's own side must be enough to tell what they are like: rare savings leave many, all alike, there.
    """
    if found.spread is None:
        return True
    tail = found.tail_low if side == "low" else found.tail_high
    is_seen = found.spread >= _LEAST_SPREAD or tail is None or tail >= _LEAST_TAIL
    return is_seen and found.spread >= spread_due(found, side)


def is_rare(found: Estimate) -> bool:
    """Whether a rate's rarer outcome comes from too few clusters to tell how it is spread over them."""
    lean = found.lean or 0.0
    return abs(lean) > _FAINT_LEAN and not is_even(found, "high" if lean > 0 else "low")


def clusters_to_even(found: Estimate) -> int | None:
    """Clusters with which about both bounds would be given, if the spread grows with them; None when both are."""
    missing = [max(spread_due(found, side), _LEAST_SPREAD) for side in SIDES if not is_even(found, side)]
    return None if not missing or not found.spread else math.ceil(found.g * max(missing) / found.spread)


def bound(found: Estimate, side: Side, t: float) -> float | None:
    """A bound `reach` standard errors from the estimate; None where it is `skewed` away, or nothing was estimated.

    Args:
        found: An estimate with its reason.
        side: Which bound.
        t: Quantile of the t distribution, > 0.
    """
    if found.theta is None or found.se is None or (found.reason == "skewed" and not is_even(found, side)):
        return None
    away = reach(t, skewness_towards(found, side)) * found.se
    return found.theta + away if side == "high" else found.theta - away


def reach(t: float, skewness: float) -> float:
    """Standard errors from the mean to the bound on the side to which `skewness` is positive.

    `t + (t^2 + 2) / 2 max(0, skewness)`. Johnson (1978) adds `(2 t^2 + 1) / 6` skewnesses, the exact bound of a Poisson count
    about `(t^2 + 2) / 3`; the skewness of a sample is too small on average where it matters, hence half as much again.

    Args:
        t: Quantile of the t distribution, > 0.
        skewness: Of the mean; its negative for the other bound.
    """
    return t + _TAIL_FACTOR * max(0.0, skewness) * (t * t + 2)


def quantile_reached(distance: float, skewness: float) -> float:
    """The `t` whose `reach` is `distance` standard errors, the inverse of `reach`; below 0 where even t = 0 reaches further."""
    a = _TAIL_FACTOR * max(0.0, skewness)
    rest = distance - 2 * a  # = a t^2 + t, solved in the form that does not cancel
    return rest if rest <= 0 else 2 * rest / (1 + math.sqrt(1 + 4 * a * rest))
