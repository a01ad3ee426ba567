"""Paired test for few clusters: how often does flipping the sign of whole clusters give as large a sum?

Valid when, without an effect, a cluster's difference is as likely as its negative; needs no normality and no variance.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipelines.stats.sums import FloatArray

FLIPS = 9_999
_CHUNK_SIGNS = 4_000_000
"""Signs held at once: about 50 MB however many clusters there are."""
_EXACT_CLUSTERS = math.floor(math.log2(FLIPS + 1))
"""All sign patterns of this many clusters are fewer than `FLIPS`, so enumerating them is cheaper and exact."""


def cluster_sign_flip(s: FloatArray, *, flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided p-value of "the clusters' sums are symmetric around 0"; the statistic is |sum of s|.

    Clusters whose sum is 0 change nothing and are left out. With at most 13 others all sign patterns are enumerated and
    the p-value is exact; else it is `(1 + hits) / (flips + 1)` over seeded random patterns, which never is 0 (Phipson &
    Smyth 2010). The order of the clusters changes nothing.

    Args:
        s: Sum of B - A per cluster, shape (clusters,).
        flips: Random sign patterns.
        seed: Seed of the patterns.

    Returns:
        p in (0, 1]; 1 if no cluster differs.
    """
    moved = np.sort(s[s != 0])
    observed = abs(math.fsum(moved))
    tolerance = 1e-9 * math.fsum(np.abs(moved))  # equal sums in another order may round below the observed one
    if moved.size <= _EXACT_CLUSTERS:
        patterns = np.arange(2**moved.size)[:, np.newaxis] >> np.arange(moved.size)
        totals = np.abs(_signs(patterns) @ moved)
        return float(np.mean(totals >= observed - tolerance))
    random = np.random.default_rng(seed)
    hits, done, chunk = 0, 0, max(1, _CHUNK_SIGNS // moved.size)
    while done < flips:
        rows = min(chunk, flips - done)
        totals = np.abs(_signs(random.integers(0, 2, size=(rows, moved.size), dtype=np.int8)) @ moved)
        hits += int(np.count_nonzero(totals >= observed - tolerance))
        done += rows
    return (1 + hits) / (flips + 1)


def _signs(bits: NDArray[np.integer]) -> FloatArray:
    return 1.0 - 2.0 * (bits & 1).astype(np.float64)
