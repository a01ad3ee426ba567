"""Means, differences and rates from per-cluster sums, for one selection or for many segments at once.

The headline standard error is the cluster jackknife with t(g_star - 1): real conversations differ in length, and there
CR1 with t(g - 1) covers too little. CR1 and the naive error are reported beside it. Paired tests, corrections for many
comparisons and verdicts have their own modules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from pipelines.errors import BadInputError
from pipelines.stats.estimate import MIN_CHANGED, MIN_CLUSTERS, MIN_EFFECTIVE, Estimand, Estimate, Reason
from pipelines.stats.reproducible import grouped_sum
from pipelines.stats.sign_flip import cluster_sign_flip
from pipelines.stats.skew import Side, bound, is_even, is_rare, measure_shape, quantile_reached, skewness_towards
from pipelines.stats.sums import ClusterSums, FloatArray, PairedSums
from pipelines.stats.wilson import wilson_interval

Codes = NDArray[np.intp]

_SIGN_FLIP_BELOW = 40
"""Clusters below which the sign-flip p-value is shown; above, it and the t test agree."""
_Z = float(ndtri(0.975))
_DENSE_CELLS = 1_000_000
"""Cells up to which a table of all of them is smaller than sorting the clusters is slow."""
_PLAIN = frozenset(("excess_divergence", "drift"))
"""Estimands whose bounds take no account of skewness."""
_MIN_DF = 0.1
"""One cluster holds 95 % of the units: the t quantile passes 10^12 and soon overflows."""
_ROUNDING = 1e-12
"""Relative spread below which values that should be equal only differ by rounding."""


def estimate(sums: ClusterSums, estimand: Estimand = "difference") -> Estimate:
    """One estimate over all clusters; `estimate_segments` says how."""
    return estimate_segments(sums, np.zeros(sums.n.size, dtype=np.intp), 1, estimand)[0]


def estimate_paired(sums: PairedSums) -> Estimate:
    """One difference B - A over all clusters, with both sides' means and their correlation."""
    return estimate_paired_segments(sums, np.zeros(sums.n.size, dtype=np.intp), 1)[0]


def estimate_segments(
    sums: ClusterSums, segment: Codes, segments: int, estimand: Estimand = "difference", *, sign_flip: bool = True
) -> list[Estimate]:
    """Estimate every segment in one pass.

    With `S_c`, `n_c` of cluster c, `N = sum n_c`, `theta = sum S_c / N` and `e_c = S_c - theta n_c`:

    - `se^2 = (g-1)/g sum_c (e_c / (1 - n_c/N))^2 / N^2`: the mean recomputed without each cluster in turn (delete-one
      jackknife, Efron & Stein 1981; CV3 in MacKinnon, Nielsen & Webb 2023); t with `N^2 / sum n_c^2 - 1` degrees of
      freedom (effective number of clusters: Carter, Schnepel & Steigerwald 2017, with full correlation in clusters).
    - `se_cr1^2 = g/(g-1) sum_c e_c^2 / N^2` (clustered error of Miller 2024, arXiv:2411.00640, as statsmodels and R's
      sandwich correct it). Both are equal when all clusters have one size.
    - Bounds are `theta ± reach se`, further than t on the side of a long tail and None there when a few clusters make up the
      spread (reason `skewed`): `skew` says how. Those of `excess_divergence` and `drift` are `theta ± t se`: they are at most 2 at
      every point, and nothing is shown to be harmless by them. `p` is that of the bound between `theta` and 0.
    - A rate gets a Wilson interval on `n_eff = theta (1 - theta) / se^2` independent units (g of them at 0 and 1), at
      most N, and at most g_star when a few clusters make up the spread; times `(1.96/t)^2` for the few clusters.

    Args:
        sums: One row per segment and cluster.
        segment: Segment of each row, 0 <= segment < segments, shape (rows,).
        segments: Number of segments; one without units gets reason `no_units`.
        estimand: What the sums are of. `difference`, `excess_divergence` and `drift` are tested against 0.
        sign_flip: Compute `p_sign_flip` of differences below 40 clusters: some milliseconds per segment.

    Returns:
        One estimate per segment, in the order of their codes, the same for every order of the rows.

    Raises:
        BadInputError: `segment` does not fit the sums, or a rate's sum is outside 0 ... n.
    """
    if segment.shape != sums.n.shape:
        raise BadInputError(f"segment has {segment.size} rows and the sums have {sums.n.size}; give one per row")
    if segment.size and not (int(segment.min()) >= 0 and int(segment.max()) < segments):
        raise BadInputError(f"segment codes are {segment.min()} to {segment.max()}; write 0 to {segments - 1}")
    if estimand == "rate" and bool(((sums.s < 0) | (sums.s > sums.n)).any()):
        raise BadInputError("a rate's sum per cluster is below 0 or above its units; use estimand 'mean'")
    s, n, code, squares = sums.s, sums.n, segment, sums.squares
    if not sums.n.all():
        used = sums.n > 0
        s, n, code = s[used], n[used], code[used]
        squares = None if squares is None else squares[used]
    table = _compute(s, n, squares, code, segments)
    estimates = [_read(table, row, sums, estimand) for row in range(segments)]
    if estimand != "difference" or not sign_flip:
        return estimates
    return [
        replace(item, p_sign_flip=cluster_sign_flip(s[code == row])) if 1 < item.g < _SIGN_FLIP_BELOW else item
        for row, item in enumerate(estimates)
    ]


def estimate_paired_segments(sums: PairedSums, segment: Codes, segments: int) -> list[Estimate]:
    """Differences B - A per segment, with both sides' means and their correlation over units.

    Args:
        sums: One row per segment and cluster.
        segment: Segment of each row.
        segments: Number of segments.

    Returns:
        One estimate per segment; `correlation` is None where a side does not vary.
    """
    estimates = estimate_segments(sums.differences(), segment, segments)

    def total(values: FloatArray) -> list[float]:
        return [float(value) for value in grouped_sum(values, segment, segments)]

    sides = zip(total(sums.a), total(sums.b), total(sums.aa), total(sums.bb), total(sums.ab), strict=True)
    return [
        replace(
            item,
            theta_a=a / item.n,
            theta_b=b / item.n,
            total_a=a,
            total_b=b,
            correlation=_correlation(item.n, (a, b), (aa, bb), ab),
        )
        if item.n
        else item
        for item, (a, b, aa, bb, ab) in zip(estimates, sides, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Table:
    """One array per number, one entry per segment; NaN where undefined."""

    n: FloatArray
    g: FloatArray
    g_changed: FloatArray
    g_star: FloatArray
    theta: FloatArray
    se: FloatArray
    df: FloatArray
    t: FloatArray
    skewness: FloatArray
    spread: FloatArray
    lean: FloatArray
    tail_low: FloatArray
    tail_high: FloatArray
    se_cr1: FloatArray
    se_naive: FloatArray
    design_effect: FloatArray
    icc: FloatArray


def _compute(s: FloatArray, n: FloatArray, squares: FloatArray | None, code: Codes, segments: int) -> _Table:
    def total(values: FloatArray) -> FloatArray:
        return grouped_sum(values, code, segments)

    cells = _cells(n, code)
    g = np.bincount(code, minlength=segments).astype(np.float64)
    g_changed = np.bincount(code[s != 0], minlength=segments).astype(np.float64)
    size, nn = (cells.add_up(cells.clusters * cells.n**power, segments) for power in (1, 2))
    # 0/0 where a segment is empty, has one cluster or does not vary: NaN is what these tables mean by undefined.
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = total(s) / size
        g_star = size * size / nn
        error = s - (theta[code] if segments > 1 else theta) * n
        errors = grouped_sum(error * error, cells.of_row, cells.n.size)
        kept = 1 - cells.n / size[cells.segment]
        weighted = np.divide(errors, kept**2, out=np.zeros_like(errors), where=kept > 0)
        se = np.where(g > 1, np.sqrt((g - 1) / g * cells.add_up(weighted, segments)) / size, np.nan)
        df = np.where(g > 1, g_star - 1, np.nan)
        ee = cells.add_up(errors, segments)
        se_cr1 = np.where(g > 1, np.sqrt(g / (g - 1) * ee) / size, np.nan)
        scale = np.sqrt(np.where(ee > 0, ee, 1.0))  # without errors there is no shape either: 0/0 below
        scaled = error / (scale[code] if segments > 1 else scale)
        squared = scaled * scaled
        cubes, fourths = (grouped_sum(squared * factor, cells.of_row, cells.n.size) for factor in (scaled, squared))
        high = np.where(scaled > 0, squared, 0.0)
        above = (grouped_sum(high, cells.of_row, cells.n.size), grouped_sum(high * high, cells.of_row, cells.n.size))
        shape = measure_shape(
            cells.n, errors / ee[cells.segment], cubes, fourths, above, lambda values: cells.add_up(values, segments)
        )
        se_naive = icc = np.full(segments, np.nan)
        if squares is not None:
            qq = total(squares)
            se_naive = np.sqrt(np.maximum(qq - size * theta * theta, 0.0) / (size * (size - 1)))
            between = cells.add_up(errors / cells.n, segments)
            icc = _icc(g, size, nn, between=between, within=total(squares - s * s / n))
        return _Table(
            n=size,
            g=g,
            g_changed=g_changed,
            g_star=g_star,
            theta=theta,
            se=se,
            df=df,
            t=np.asarray(stdtrit(df, 0.975), dtype=np.float64),
            skewness=shape.skewness,
            spread=shape.spread,
            lean=shape.lean,
            tail_low=shape.tail_low,
            tail_high=shape.tail_high,
            se_cr1=se_cr1,
            se_naive=se_naive,
            design_effect=np.where(se_naive > 0, se_cr1**2 / se_naive**2, np.nan),
            icc=icc,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Clusters of one segment and one size, taken together: what a cluster weighs depends on its size alone.

    Attributes:
        of_row: Cell of each cluster.
        segment: Segment of each cell.
        n: Units of a cluster in each cell.
        clusters: Clusters in each cell.
    """

    of_row: Codes
    segment: Codes
    n: FloatArray
    clusters: FloatArray

    def add_up(self, values: FloatArray, segments: int) -> FloatArray:
        """Sums over the cells of each segment, in the order of sizes."""
        return np.bincount(self.segment, weights=values, minlength=segments).astype(np.float64, copy=False)


def _cells(n: FloatArray, code: Codes) -> _Cells:
    width = int(n.max(initial=0)) + 1
    key = code * width + n.astype(np.intp)
    if int(key.max(initial=0)) > _DENSE_CELLS:
        keys, of_row = np.unique(key, return_inverse=True)
    else:
        keys, of_row = np.arange(int(key.max(initial=-1)) + 1), key
    clusters = np.bincount(of_row, minlength=keys.size).astype(np.float64)
    if of_row is key:  # sizes that do not occur have no cell
        used = np.flatnonzero(clusters)
        of_row = (np.cumsum(clusters > 0) - 1)[key]
        keys, clusters = used, clusters[used]
    return _Cells(of_row, keys // width, (keys % width).astype(np.float64), clusters)


def _icc(g: FloatArray, size: FloatArray, nn: FloatArray, between: FloatArray, within: FloatArray) -> FloatArray:
    """Analysis of variance estimator for unequal clusters (Donner 1986); NaN if all clusters are single units."""
    mean_between = between / (g - 1)
    mean_within = np.maximum(within, 0.0) / np.where(size > g, size - g, np.nan)
    typical_size = (size - nn / size) / (g - 1)
    return (mean_between - mean_within) / (mean_between + (typical_size - 1) * mean_within)


def _read(table: _Table, row: int, sums: ClusterSums, estimand: Estimand) -> Estimate:
    number = {field.name: _none_if_nan(getattr(table, field.name)[row]) for field in fields(_Table)}
    n, g, g_changed = (int(getattr(table, name)[row]) for name in ("n", "g", "g_changed"))
    theta, se, df, t = number["theta"], number["se"], number["df"], number["t"]
    base = Estimate(estimand, sums.weighting, n=n, g=g, g_changed=g_changed, reason="no_units")
    if theta is None:
        return base
    base = replace(base, theta=theta, g_star=number["g_star"], se_naive=number["se_naive"], reason="one_cluster")
    if se is None or df is None or t is None or df < _MIN_DF:
        return base
    base = replace(
        base,
        se=se,
        df=df,
        se_cr1=number["se_cr1"],
        design_effect=number["design_effect"],
        icc=number["icc"],
    )
    if estimand not in _PLAIN:
        base = replace(
            base,
            skewness=number["skewness"],
            spread=number["spread"],
            lean=number["lean"],
            tail_low=number["tail_low"],
            tail_high=number["tail_high"],
        )
    base = replace(base, reason=_reason(base))
    if estimand == "rate":
        n_eff = min(n, theta * (1 - theta) / se**2 if se > 0 else n) if 0 < theta < 1 else g
        if base.g_star is not None and is_rare(base):
            n_eff = min(
                n_eff, base.g_star
            )  # a few clusters do not show how alike units of a cluster are: at worst all are
        n_eff *= (_Z / t) ** 2
        low, high = wilson_interval(theta, n_eff)
        return replace(base, n_eff=n_eff, low=low, high=high)
    if estimand != "mean" and g_changed == 0:
        return base  # nothing differs anywhere: the interval would be [0, 0], which few clusters cannot promise
    return replace(base, low=bound(base, "low", t), high=bound(base, "high", t), p=_p(base))


def _p(found: Estimate) -> float | None:
    """Two-sided p of "it is 0"; None for a mean, and where the bound towards 0 is not given."""
    if found.estimand == "mean" or found.theta is None or found.se is None or found.df is None:
        return None
    side: Side = "low" if found.theta > 0 else "high"
    if found.reason == "skewed" and not is_even(found, side):
        return None
    if found.se == 0:
        return 0.0
    quantile = quantile_reached(abs(found.theta) / found.se, skewness_towards(found, side))
    return float(2 * stdtr(found.df, -max(0.0, quantile)))


def _reason(found: Estimate) -> Reason | None:
    if found.g < MIN_CLUSTERS or (found.g_star or 0) < MIN_EFFECTIVE:
        return "small_sample"
    if found.estimand == "rate":
        return None
    if found.estimand != "mean" and found.g_changed < MIN_CHANGED:
        return "few_changes"
    if found.se is None or found.theta is None or found.se <= _ROUNDING * abs(found.theta):
        return "no_variation"
    return None if is_even(found, "low") and is_even(found, "high") else "skewed"


def _correlation(n: int, sums: tuple[float, float], squares: tuple[float, float], products: float) -> float | None:
    spread_a, spread_b = (n * square - total * total for total, square in zip(sums, squares, strict=True))
    if spread_a <= _ROUNDING * n * squares[0] or spread_b <= _ROUNDING * n * squares[1]:
        return None
    return max(-1.0, min(1.0, (n * products - sums[0] * sums[1]) / math.sqrt(spread_a * spread_b)))


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
