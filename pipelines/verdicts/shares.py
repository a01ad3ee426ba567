"""Shares of all pairs of a version, from those that were drawn and judged, with intervals that hold for few pairs and rare choices.

What is uncertain is which pairs were drawn, so drawing all of them leaves nothing uncertain. With inclusion probabilities p_i, weights
w_i = 1 / p_i and m judged pairs:

- the share is Hájek's, `sum w y / sum w`;
- its variance `V = m/(m-1) sum (1 - p_i) (w_i (y_i - share))^2 / (sum w)^2` is the one of fixed-size designs of high entropy (Hájek 1964);
- the interval is Wilson's with the number of pairs of a simple sample that would be as uncertain. V says little of a choice that was seen
  k times for small k: with k of k + 3 parts it is V's, with the rest that of weights alone, as if they had nothing to do with choices;
- a difference of two shares has its bounds from theirs (MOVER: Newcombe 1998, Zou & Donner 2008), with the correlation of a multinomial.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipelines.stats.wilson import wilson_interval
from pipelines.verdicts.estimate import MIN_PAIRS, Share

FloatArray = NDArray[np.float64]
_PRIOR = 3.0
"""Times that a choice was seen from which its own variance counts for more than half."""


def share_of(values: FloatArray, chances: FloatArray) -> Share:
    """The share of a choice among all pairs.

    Args:
        values: Of each judged pair, the share of its reviewers that chose it, shape (pairs,).
        chances: That the pair is among the judged ones, above 0, at most 1, shape (pairs,).
    """
    m = values.size
    if not m:
        return Share(None, None, None, 0, "no_verdicts")
    weights = 1 / chances
    total = float(weights.sum())
    share = float(weights @ values / total)
    share = min(max(share, 0.0), 1.0)
    if m < MIN_PAIRS and (chances < 1).any():
        return Share(share, None, None, m, "few_verdicts")
    spread = (1 - chances) * weights * weights
    by_weights = float(spread.sum()) / total**2
    if not by_weights:
        return Share(share, share, share, m)
    by_weights *= m / (m - 1)
    seen = int(min((values > 0).sum(), (values < 1).sum()))
    binomial = share * (1 - share)
    variance = by_weights
    if seen and binomial > 0:
        own = m / (m - 1) * float(spread @ (values - share) ** 2) / total**2
        part = seen / (seen + _PRIOR)
        variance = part * own / binomial + (1 - part) * by_weights
    low, high = wilson_interval(share, 1 / variance)
    return Share(share, low, high, m)


def net_of(better: Share, worse: Share) -> Share:
    """The share better less the share worse, of the same pairs."""
    if better.estimate is None or worse.estimate is None:
        return better
    b, w = better.estimate, worse.estimate
    if better.low is None or better.high is None or worse.low is None or worse.high is None:
        return Share(b - w, None, None, better.n, better.reason or worse.reason)
    scale = math.sqrt(b * (1 - b) * w * (1 - w))
    correlation = max(-1.0, -b * w / scale) if scale else 0.0
    low = _apart(b - better.low, worse.high - w, correlation)
    high = _apart(better.high - b, w - worse.low, correlation)
    return Share(b - w, max(-1.0, b - w - low), min(1.0, b - w + high), better.n)


def _apart(first: float, second: float, correlation: float) -> float:
    """How far a bound of a difference is from it, given how far those of its parts are."""
    return math.sqrt(max(0.0, first * first + second * second - 2 * correlation * first * second))
