"""Shares of all pairs of a version, from those that were drawn and judged, with intervals that hold for few pairs and rare choices.

What is uncertain is which pairs were drawn, so drawing all of them leaves nothing uncertain. With inclusion probabilities p_i, weights
w_i = 1 / p_i and m judged pairs:

- the share is Hájek's, `sum w y / sum w`;
- its variance `V = m/(m-1) sum (1 - p_i) (w_i (y_i - share))^2 / (sum w)^2` is the one of fixed-size designs of high entropy (Hájek 1964);
- the interval is Wilson's with the number of pairs of a simple sample that would be as uncertain. V says little of a choice that was seen
  k times for small k: with k of k + 3 parts it is V's, with the rest that of weights alone, as if they had nothing to do with choices;
- the difference of two shares has its bounds from theirs, made with the number of pairs that its own variance comes to (likewise, with k of
  k + 1 parts), and the correlation of a multinomial (MOVER: Newcombe 1998, Zou & Donner 2008).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipelines.stats.wilson import wilson_interval
from pipelines.verdicts.estimate import MIN_PAIRS, Share

FloatArray = NDArray[np.float64]
_PRIOR, _NET_PRIOR = 3.0, 1.0
"""Times that a choice was seen from which its own variance counts for more than half; and one of the two that a difference is of."""


def share_of(values: FloatArray, chances: FloatArray) -> Share:
    """The share of a choice among all pairs.

    Args:
        values: Of each judged pair, the share of its reviewers that chose it, shape (pairs,).
        chances: That the pair is among the judged ones, above 0, at most 1, shape (pairs,).
    """
    if not values.size:
        return Share(None, None, None, 0, "no_verdicts")
    share = _mean(values, chances)
    missing = _missing(share, chances)
    if missing is not None:
        return missing
    low, high = _wilson(share, _uncertainty(values, share, share * (1 - share), chances, _PRIOR))
    return Share(share, low, high, values.size)


def net_of(better: FloatArray, worse: FloatArray, chances: FloatArray) -> Share:
    """The share of one choice less that of another; arguments as of `share_of`."""
    if not better.size:
        return Share(None, None, None, 0, "no_verdicts")
    b, w = _mean(better, chances), _mean(worse, chances)
    net = b - w
    missing = _missing(net, chances)
    if missing is not None:
        return missing
    uncertainty = _uncertainty(better - worse, net, b + w - net * net, chances, _NET_PRIOR)
    (low_b, high_b), (low_w, high_w) = _wilson(b, uncertainty), _wilson(w, uncertainty)
    scale = math.sqrt(b * (1 - b) * w * (1 - w))
    correlation = max(-1.0, -b * w / scale) if scale else 0.0
    low = net - _apart(b - low_b, high_w - w, correlation)
    high = net + _apart(high_b - b, w - low_w, correlation)
    return Share(net, max(-1.0, low), min(1.0, high), better.size)


def _mean(values: FloatArray, chances: FloatArray) -> float:
    weights = 1 / chances
    return min(max(float(weights @ values / weights.sum()), 0.0), 1.0)


def _missing(estimate: float, chances: FloatArray) -> Share | None:
    """The estimate without bounds, where there are too few pairs for them; or with none to either side, where all were judged."""
    if not (chances < 1).any():
        return Share(estimate, estimate, estimate, chances.size)
    return Share(estimate, None, None, chances.size, "few_verdicts") if chances.size < MIN_PAIRS else None


def _uncertainty(values: FloatArray, mean: float, simple: float, chances: FloatArray, prior: float) -> float:
    """The variance, as a part of what one pair of a simple sample would have: 1 / n of n pairs.

    Args:
        values: Of each pair.
        mean: Their weighted mean.
        simple: The variance of one value.
        chances: That the pair is among the judged ones.
        prior: Times that something was seen from which its own variance counts for more than half.
    """
    weights = 1 / chances
    m = values.size
    spread = m / (m - 1) * (1 - chances) * weights * weights / float(weights.sum()) ** 2
    by_weights = float(spread.sum())
    seen = int(min((values != 0).sum(), (values != 1).sum()))
    if not seen or simple <= 0:
        return by_weights
    part = seen / (seen + prior)
    return part * float(spread @ (values - mean) ** 2) / simple + (1 - part) * by_weights


def _wilson(share: float, uncertainty: float) -> tuple[float, float]:
    return wilson_interval(share, 1 / uncertainty) if uncertainty > 0 else (share, share)


def _apart(first: float, second: float, correlation: float) -> float:
    """How far a bound of a difference is from it, given how far those of its parts are."""
    return math.sqrt(max(0.0, first * first + second * second - 2 * correlation * first * second))
