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
from pipelines.stats.cluster import estimate, estimate_paired
from pipelines.stats.estimate import Estimate, Goal
from pipelines.stats.multiplicity import adjust_family
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
    cluster = np.asarray(units.cluster, dtype=object)
    everywhere = np.ones(cluster.size, dtype=np.bool_)
    places = [(ALL, ALL, everywhere)]
    for segment, values in units.segments.items():
        column = np.asarray(values, dtype=object)
        places += [(segment, value, column == value) for value in sorted({v for v in values if v is not None})]
    lines = []
    for segment, value, chosen in places:
        for name, share in units.shares.items():
            lines.append(_share(name, segment, value, cluster, share, chosen))
        for name, (a, b) in units.sides.items():
            metric = metrics.get(name)
            goal = metric.goal if metric is not None else _GOALS.get(name)
            margin = metric.margin if metric is not None else None
            line = _difference(name, segment, value, cluster, a, b, chosen)
            lines.append(replace(line, estimate=judge(line.estimate, goal=goal, margin=margin)))
    return _adjusted(lines, primary)


_Floats = np.ndarray[Any, np.dtype[np.float64]]
_Mask = np.ndarray[Any, np.dtype[np.bool_]]
_Objects = np.ndarray[Any, np.dtype[np.object_]]


def _share(name: str, segment: str, value: str, cluster: _Objects, share: _Floats, chosen: _Mask) -> Line:
    known = chosen & ~np.isnan(share)
    sums = PairedSums.from_units(cluster[known].tolist(), share[known], share[known])
    numbers = estimate(ClusterSums(s=sums.a, n=sums.n, squares=sums.aa), "rate")
    return Line(name, "change", segment, value, numbers, int(chosen.sum() - known.sum()))


def _difference(name: str, segment: str, value: str, cluster: _Objects, a: _Floats, b: _Floats, chosen: _Mask) -> Line:
    known = chosen & ~np.isnan(a) & ~np.isnan(b)
    sums = PairedSums.from_units(cluster[known].tolist(), a[known], b[known])
    numbers = estimate_paired(sums)
    totals = (float(sums.a.sum()), float(sums.b.sum())) if numbers.n else (None, None)
    return Line(name, "metric", segment, value, numbers, int(chosen.sum() - known.sum()), *totals)


def _adjusted(lines: list[Line], primary: str | None) -> list[Line]:
    """Fill `q`: one family of all tested differences but the primary metric over everything."""
    family = [
        i for i, line in enumerate(lines) if line.kind == "metric" and (line.metric, line.segment) != (primary, ALL)
    ]
    adjusted = adjust_family([lines[i].estimate for i in family])
    for i, numbers in zip(family, adjusted, strict=True):
        lines[i] = replace(lines[i], estimate=numbers)
    return lines
