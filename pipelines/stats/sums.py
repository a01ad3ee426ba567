"""What the estimators take: sums per cluster, as one GROUP BY gives them.

Validation of numbers belongs here, so that no estimator meets a NaN or a negative count. How the sums are obtained does
not: any engine may make them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.errors import BadInputError
from pipelines.stats.estimate import Weighting
from pipelines.stats.reproducible import grouped_sum

FloatArray = NDArray[np.float64]

_LARGEST = 1e100
"""Squares of sums of larger numbers could overflow; no count, second, token or dollar comes near."""


@dataclass(frozen=True, slots=True, eq=False)
class ClusterSums:
    """One metric summed per cluster; one row per cluster (or per segment and cluster), any order.

    Attributes:
        s: Sum over the cluster's units of the metric, or of its difference B - A.
        n: Number of the cluster's units; rows with 0 units are dropped.
        squares: Sum over the cluster's units of the squared metric or difference; None if unknown, and then the
            naive standard error, the design effect and the intraclass correlation are None.
        weighting: Whether `theta` will be the mean over units, or the mean over clusters of their means.
    """

    s: FloatArray
    n: FloatArray
    squares: FloatArray | None = None
    weighting: Weighting = "unit"

    def __post_init__(self) -> None:
        """Convert to float arrays.

        Raises:
            BadInputError: Lengths differ, a value is not finite, or a count is negative, broken or zero with a sum.
        """
        object.__setattr__(self, "s", _column("s", self.s))
        object.__setattr__(self, "n", _counts(self.n))
        _same_length(("s", self.s), ("n", self.n))
        if self.squares is not None:
            object.__setattr__(self, "squares", _column("squares", self.squares))
            _same_length(("s", self.s), ("squares", self.squares))
        _no_sum_without_units(self.n, self.s)

    def per_cluster(self) -> ClusterSums:
        """Every cluster's mean as one unit, for an estimate in which each cluster weighs the same."""
        used = self.n > 0
        mean = self.s[used] / self.n[used]
        return ClusterSums(s=mean, n=np.ones(mean.size), squares=mean**2, weighting="cluster")


@dataclass(frozen=True, slots=True, eq=False)
class PairedSums:
    """One metric observed on both sides of the same units, summed per cluster; one row per cluster, any order.

    Attributes:
        n: Number of the cluster's pairs.
        a: Sum of the metric on side A (baseline).
        b: Sum of the metric on side B (candidate).
        aa: Sum of its squares on side A.
        bb: Sum of its squares on side B.
        ab: Sum of the products of the two sides.
    """

    n: FloatArray
    a: FloatArray
    b: FloatArray
    aa: FloatArray
    bb: FloatArray
    ab: FloatArray

    def __post_init__(self) -> None:
        """Convert to float arrays.

        Raises:
            BadInputError: As for `ClusterSums`.
        """
        object.__setattr__(self, "n", _counts(self.n))
        for name in ("a", "b", "aa", "bb", "ab"):
            column = _column(name, getattr(self, name))
            object.__setattr__(self, name, column)
            _same_length(("n", self.n), (name, column))
        _no_sum_without_units(self.n, self.a)
        _no_sum_without_units(self.n, self.b)

    @classmethod
    def from_units(cls, cluster: Sequence[object], a: ArrayLike, b: ArrayLike) -> PairedSums:
        """Sum units in memory; clusters in the order of their first unit. For small data and for tests.

        Args:
            cluster: Cluster of each unit, shape (units,).
            a: Metric on side A, shape (units,).
            b: Metric on side B, shape (units,).
        """
        left, right = _column("a", a), _column("b", b)
        _same_length(("a", left), ("b", right))
        if len(cluster) != left.size:
            raise BadInputError(f"{len(cluster)} cluster ids for {left.size} units; give one per unit")
        ids: dict[object, int] = {}
        code = np.array([ids.setdefault(key, len(ids)) for key in cluster], dtype=np.intp)

        def total(values: FloatArray) -> FloatArray:
            return grouped_sum(values, code, len(ids))

        return cls(
            n=total(np.ones(left.size)),
            a=total(left),
            b=total(right),
            aa=total(left**2),
            bb=total(right**2),
            ab=total(left * right),
        )

    def differences(self) -> ClusterSums:
        """The sums of B - A and of its square."""
        squares = np.maximum(self.aa + self.bb - 2 * self.ab, 0.0)  # cancellation can leave -1e-17
        return ClusterSums(s=self.b - self.a, n=self.n, squares=squares)


def _column(name: str, values: ArrayLike) -> FloatArray:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise BadInputError(f"{name} has shape {column.shape}; give one number per cluster")
    bad = ~(np.abs(column) <= _LARGEST)  # also true for NaN
    if bad.any():
        row = int(np.argmax(bad))
        raise BadInputError(f"{name}[{row}] is {column[row]}; leave units without a finite value out and count them")
    return column


def _counts(values: ArrayLike) -> FloatArray:
    counts = _column("n", values)
    bad = (counts < 0) | (counts != np.floor(counts))
    if bad.any():
        row = int(np.argmax(bad))
        raise BadInputError(f"n[{row}] is {counts[row]}; a number of units is 0, 1, 2, ...")
    return counts


def _same_length(first: tuple[str, FloatArray], second: tuple[str, FloatArray]) -> None:
    if first[1].size != second[1].size:
        raise BadInputError(
            f"{first[0]} has {first[1].size} rows and {second[0]} has {second[1].size}; give one row per cluster"
        )


def _no_sum_without_units(n: FloatArray, s: FloatArray) -> None:
    bad = (n == 0) & (s != 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise BadInputError(f"cluster row {row} has no units but a sum of {s[row]}; the GROUP BY lost its count")
