"""Several candidates over the same units: each beside A, and each beside each other, with intervals that hold together.

Read from the units of complete versions; nothing is kept. Intervals are those of a version's summary, at the level that Bonferroni
leaves to each: over the candidates beside A, over the pairs of candidates beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import duckdb
import numpy as np

from pipelines.diff.arrays import to_numpy
from pipelines.diff.names import DIFFERENCES
from pipelines.diff.tally import share_sql, value_sql
from pipelines.experiment.file import Experiment
from pipelines.lake.lake import Lake
from pipelines.stats.cluster import estimate, estimate_paired
from pipelines.stats.equality import recorded_range
from pipelines.stats.estimate import Estimate
from pipelines.stats.simultaneous import level_of, widen
from pipelines.stats.sums import ClusterSums, PairedSums

Kind = Literal["change", "metric", "rule"]
SAME = "same_calls"
"""The share that is compared."""
READS = "FROM ab_units_history"

_SUMS = """
SELECT
    count(*)::DOUBLE AS n, coalesce(sum(a), 0) AS a, sum(b) AS b, coalesce(sum(a * a), 0) AS aa, sum(b * b) AS bb,
    coalesce(sum(a * b), 0) AS ab, min(least(a, b)) AS lowest, max(greatest(a, b)) AS highest
FROM ({values})
WHERE b IS NOT NULL AND (a IS NOT NULL OR $is_one)
GROUP BY cluster
ORDER BY cluster
"""
_VALUES = """
SELECT "cluster", ({a})::DOUBLE AS a, ({b})::DOUBLE AS b
FROM ab_units_history
WHERE experiment = $second AND version_id = $second_version
"""
_BETWEEN = """
SELECT one."cluster", one.value AS a, two.value AS b
FROM (
    SELECT unit_id, "cluster", ({value})::DOUBLE AS value
    FROM ab_units_history WHERE experiment = $first AND version_id = $first_version
) AS one
INNER JOIN (
    SELECT unit_id, ({value})::DOUBLE AS value
    FROM ab_units_history WHERE experiment = $second AND version_id = $second_version
) AS two USING (unit_id)
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison of one metric.

    Attributes:
        metric: What is estimated.
        kind: `change` (share of pairs with the same tool calls as A), `metric` or `rule` (how often it holds).
        first: The candidate that is compared with; None: A.
        second: The candidate.
        estimate: Beside A the share or rate of a candidate, or the mean of candidate − A; between two candidates the mean of second −
            first. Its bounds hold together with those of all candidates, or all pairs of them, and the same metric.
        goal: Which direction is good; None where none was declared.
    """

    metric: str
    kind: Kind
    first: str | None
    second: str
    estimate: Estimate
    goal: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All candidates of an experiment over one window.

    Attributes:
        candidates: Names and versions, in their order.
        level: Of each interval beside A.
        pair_level: Of each interval between two candidates; None with one candidate.
        beside: Lines beside A, by metric.
        between: Lines between candidates, by metric.
    """

    candidates: tuple[tuple[str, str], ...]
    level: float
    pair_level: float | None
    beside: tuple[Line, ...]
    between: tuple[Line, ...]


def compare_candidates(lake: Lake, experiment: Experiment, versions: Mapping[str, str]) -> Comparison:
    """Compare complete versions of an experiment's candidates over one window.

    Args:
        lake: Where they are.
        experiment: The experiment, with metrics and rules.
        versions: `version_id` by `EXPERIMENT/CANDIDATE`, in the order of the candidates.
    """
    pairs = list(combinations(versions, 2))
    with lake.connect(READS) as connection:
        subjects = list(_subjects(experiment))
        beside = [
            Line(name, kind, None, second, widen(found, len(versions), span), goal)
            for name, kind, goal in subjects
            for second in versions
            for found, span in [_beside(connection, name, kind, second, versions[second])]
        ]
        between = [
            Line(name, kind, first, second, widen(found, len(pairs), span), goal)
            for name, kind, goal in subjects
            for first, second in pairs
            for found, span in [_between(connection, name, kind, (first, versions[first]), (second, versions[second]))]
        ]
    return Comparison(
        candidates=tuple(versions.items()),
        level=level_of(len(versions)),
        pair_level=level_of(len(pairs)) if pairs else None,
        beside=tuple(_seen(beside)),
        between=tuple(_seen(between)),
    )


def _subjects(experiment: Experiment) -> Iterator[tuple[str, Kind, str | None]]:
    """What is compared: the primary first."""
    names = list(experiment.metrics)
    if experiment.primary is not None:
        names = [experiment.primary, *(name for name in names if name != experiment.primary)]
    for name in names:
        metric = experiment.metrics.get(name)
        yield name, "metric", metric.goal if metric is not None else None
    for rule in experiment.expect:
        yield rule.name, "rule", "higher"
    yield SAME, "change", None
    for name in DIFFERENCES:
        if name not in names:
            yield name, "metric", None


def _seen(lines: Sequence[Line]) -> list[Line]:
    """Without metrics that nobody recorded, or that are 0 everywhere."""
    found = {
        line.metric
        for line in lines
        if line.metric not in DIFFERENCES or line.estimate.total_a or line.estimate.total_b
    }
    return [line for line in lines if line.metric in found]


def _beside(
    connection: duckdb.DuckDBPyConnection, name: str, kind: Kind, second: str, version_id: str
) -> tuple[Estimate, float]:
    params = {"second": second, "second_version": version_id, "is_one": kind != "metric"}
    if kind == "metric":
        values = _VALUES.format(a=value_sql(name, "a"), b=value_sql(name, "b"))
    else:
        values = _VALUES.format(a="NULL", b=share_sql(name) if kind == "change" else value_sql(name, "b"))
    sums, span = _sums(connection, values, params)
    if kind == "metric":
        return estimate_paired(sums), span
    return estimate(ClusterSums(s=sums.b, n=sums.n, squares=sums.bb), "rate"), span


def _between(
    connection: duckdb.DuckDBPyConnection, name: str, kind: Kind, first: tuple[str, str], second: tuple[str, str]
) -> tuple[Estimate, float]:
    params = {"first": first[0], "first_version": first[1], "second": second[0], "second_version": second[1]}
    value = share_sql(name) if kind == "change" else value_sql(name, "b")
    sums, span = _sums(connection, _BETWEEN.format(value=value), {**params, "is_one": False})
    return estimate_paired(sums), span


def _sums(connection: duckdb.DuckDBPyConnection, values: str, params: Mapping[str, Any]) -> tuple[PairedSums, float]:
    """Sums by cluster, and by how much a unit of one could differ."""
    rows = connection.sql(_SUMS.format(values=values), params=dict(params)).to_arrow_table()
    column = {name: to_numpy(rows.column(name), np.float64) for name in ("n", "a", "b", "aa", "bb", "ab")}
    bounds = [value for name in ("lowest", "highest") for value in rows.column(name).to_pylist() if value is not None]
    return PairedSums(**column), recorded_range(min(bounds), max(bounds)) if bounds else 0.0
