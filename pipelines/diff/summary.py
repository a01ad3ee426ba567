"""Summarise a version's unit pairs: one estimate per metric and segment, with its interval and verdict.

Shares (`same_names`, `same_calls` …) measure change and have no direction. Differences are B − A over the units that have
a value on both sides; a verdict needs the experiment's goal and margin. Failed units count as not the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from pipelines.replay.experiment import Metric
from pipelines.stats.cluster import estimate_paired_segments, estimate_segments
from pipelines.stats.estimate import Estimate, Goal
from pipelines.stats.multiplicity import adjust_family
from pipelines.stats.reproducible import grouped_sum
from pipelines.stats.sums import ClusterSums, PairedSums
from pipelines.stats.verdict import judge

ALL = "all"
"""Segment and value of the whole."""

SHARES = ("same_names", "same_calls", "same_final", "failed")
DIFFERENCES = ("calls", "cost_usd", "latency_ms", "output_tokens", "outcome_good")
_GOALS: Mapping[str, Goal] = {"outcome_good": "higher"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the summary.

    Attributes:
        metric: What is estimated.
        kind: `change` (a share, no direction) or `metric` (A against B).
        segment: Segment column, or `all`.
        segment_value: Its value, or `all`.
        estimate: The numbers, judged.
        excluded: Units without a value.
        total_a: Sum over A's units; None for a share.
        total_b: Sum over B's units; None for a share.
    """

    metric: str
    kind: Literal["change", "metric"]
    segment: str
    segment_value: str
    estimate: Estimate
    excluded: int
    total_a: float | None = None
    total_b: float | None = None

    def row(self) -> dict[str, Any]:
        """The line as a row of `ab_summary`, without the partition columns."""
        numbers = self.estimate
        return {
            "metric": self.metric,
            "kind": self.kind,
            "segment": self.segment,
            "segment_value": self.segment_value,
            "estimand": numbers.estimand,
            "n": numbers.n,
            "excluded": self.excluded,
            "g": numbers.g,
            "g_changed": numbers.g_changed,
            "g_star": numbers.g_star,
            "mean_a": numbers.theta_a,
            "mean_b": numbers.theta_b,
            "total_a": self.total_a,
            "total_b": self.total_b,
            "estimate": numbers.theta,
            "se": numbers.se,
            "se_cr1": numbers.se_cr1,
            "low": numbers.low,
            "high": numbers.high,
            "p_value": numbers.p,
            "p_sign_flip": numbers.p_sign_flip,
            "q_value": numbers.q,
            "goal": numbers.goal,
            "margin": numbers.margin,
            "verdict": numbers.verdict,
            "is_non_inferior": numbers.is_non_inferior,
            "g_needed": numbers.g_needed,
            "reason": numbers.reason,
        }


@dataclass(frozen=True, slots=True, eq=False)
class UnitColumns:
    """What the summary needs of the units, as arrays over units.

    Attributes:
        cluster: Cluster of each unit.
        segments: Segment column → its value per unit; None where it has none.
        shares: Share → 1, 0, or NaN where it does not apply.
        sides: Metric → (A, B), NaN where there is no value.
    """

    cluster: Sequence[str]
    segments: Mapping[str, Sequence[str | None]]
    shares: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]
    sides: Mapping[str, tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]]


def summarise(units: UnitColumns, metrics: Mapping[str, Metric], primary: str | None) -> list[Line]:
    """All lines: the whole first, then every value of every segment, metrics in a fixed order.

    Args:
        units: The units' columns.
        metrics: The experiment's own metrics: goals and margins.
        primary: The one metric that is not corrected for multiplicity; None corrects all.
    """
    lines: list[Line] = []
    for dimension in _dimensions(units):
        for name, share in units.shares.items():
            lines += _shares(name, share, dimension)
        for name, (a, b) in units.sides.items():
            metric = metrics.get(name)
            goal = metric.goal if metric is not None else _GOALS.get(name)
            margin = metric.margin if metric is not None else None
            for line in _differences(name, a, b, dimension):
                lines.append(replace(line, estimate=judge(line.estimate, goal=goal, margin=margin)))
    return _adjusted(lines, primary)


@dataclass(frozen=True, slots=True, eq=False)
class _Dimension:
    """One way to divide the units: the whole, or a segment column.

    Attributes:
        segment: Segment column, or `all`.
        values: Its values, in order.
        group: Group (value and cluster) of each unit; -1 for a unit without a value.
        value_of: Place in `values` of each group.
    """

    segment: str
    values: list[str]
    group: _Codes
    value_of: _Codes

    def sum_up(self, column: _Floats, known: _Mask) -> _Floats:
        """Sums of a column per group, over the units that are known."""
        return grouped_sum(column[known], self.group[known], self.value_of.size)

    def count(self, known: _Mask) -> _Codes:
        """Units per value, of those that are known."""
        return np.bincount(self.value_of[self.group[known]], minlength=len(self.values))


_Floats = np.ndarray[Any, np.dtype[np.float64]]
_Mask = np.ndarray[Any, np.dtype[np.bool_]]
_Codes = np.ndarray[Any, np.dtype[np.intp]]


def _dimensions(units: UnitColumns) -> list[_Dimension]:
    clusters, cluster = np.unique(np.asarray(units.cluster, dtype=np.str_), return_inverse=True)
    found = [_Dimension(ALL, [ALL], cluster, np.zeros(clusters.size, dtype=np.intp))]
    for segment, column in units.segments.items():
        values = sorted({value for value in column if value is not None})
        codes = {value: code for code, value in enumerate(values)}
        code = np.array([-1 if value is None else codes[value] for value in column], dtype=np.intp)
        pairs, group = np.unique(code * clusters.size + cluster, return_inverse=True)
        value_of = pairs // max(clusters.size, 1)
        first = int(np.searchsorted(value_of, 0))  # groups without a value come first, and are no group
        found.append(_Dimension(segment, values, np.where(code < 0, -1, group - first), value_of[first:]))
    return found


def _shares(name: str, share: _Floats, dimension: _Dimension) -> list[Line]:
    placed = dimension.group >= 0
    known = placed & ~np.isnan(share)
    total = dimension.sum_up(share, known)  # 0 and 1 are their own squares
    sums = ClusterSums(s=total, n=dimension.sum_up(np.ones(share.size), known), squares=total)
    estimates = estimate_segments(sums, dimension.value_of, len(dimension.values), "rate")
    excluded = dimension.count(placed) - dimension.count(known)
    return [
        Line(name, "change", dimension.segment, value, numbers, int(left_out))
        for value, numbers, left_out in zip(dimension.values, estimates, excluded, strict=True)
    ]


def _differences(name: str, a: _Floats, b: _Floats, dimension: _Dimension) -> list[Line]:
    placed = dimension.group >= 0
    known = placed & ~np.isnan(a) & ~np.isnan(b)
    sums = PairedSums(
        n=dimension.sum_up(np.ones(a.size), known),
        a=dimension.sum_up(a, known),
        b=dimension.sum_up(b, known),
        aa=dimension.sum_up(a * a, known),
        bb=dimension.sum_up(b * b, known),
        ab=dimension.sum_up(a * b, known),
    )
    values = len(dimension.values)
    estimates = estimate_paired_segments(sums, dimension.value_of, values)
    totals_a = grouped_sum(sums.a, dimension.value_of, values)
    totals_b = grouped_sum(sums.b, dimension.value_of, values)
    excluded = dimension.count(placed) - dimension.count(known)
    lines = []
    for place, (value, numbers) in enumerate(zip(dimension.values, estimates, strict=True)):
        totals = (float(totals_a[place]), float(totals_b[place])) if numbers.n else (None, None)
        lines.append(Line(name, "metric", dimension.segment, value, numbers, int(excluded[place]), *totals))
    return lines


def _adjusted(lines: list[Line], primary: str | None) -> list[Line]:
    """Fill `q`: one family of all tested differences but the primary metric over everything."""
    family = [
        i for i, line in enumerate(lines) if line.kind == "metric" and (line.metric, line.segment) != (primary, ALL)
    ]
    adjusted = adjust_family([lines[i].estimate for i in family])
    for i, numbers in zip(family, adjusted, strict=True):
        lines[i] = replace(lines[i], estimate=numbers)
    return lines
