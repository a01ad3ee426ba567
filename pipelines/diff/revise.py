"""Make the summary of a version anew from the unit pairs that are left of it, after an erasure dropped some.

By the functions that make every summary: what the pairs add up to is `tally`'s, estimates are `summary`'s, the noise floor is
`noise`'s. Metrics are in the rows and are not measured again, so no code of a user's is needed. What cannot be made again stays, and
every line of it says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.diff.noise import measure_noise
from pipelines.diff.result import input_hash_of
from pipelines.diff.revised import BEFORE, revised
from pipelines.diff.shards import create_relations
from pipelines.diff.summary import summarise
from pipelines.diff.tally import Tally
from pipelines.diff.versions import read_summary
from pipelines.duck import quote_literal
from pipelines.errors import RefoldError
from pipelines.experiment.plan import Plan
from pipelines.experiment.units import READS
from pipelines.experiment.versions import is_of_this_code, recall_version
from pipelines.lake.datasets import AB_SUMMARY
from pipelines.lake.lake import Commit, Lake

_READS = f"{READS}, ab_units_history, ab_tool_calls_history, ab_summary_history, versions_history, stream_months"
_LEFT = """
CREATE OR REPLACE TEMP VIEW {name} AS
SELECT pairs.*, plan.stream_row
FROM {table} AS pairs
LEFT JOIN all_plan_streams AS plan ON pairs.aggregate_id = plan.aggregate_id
WHERE pairs.experiment = {experiment} AND pairs.version_id = {version_id}
"""
_STRANGERS = "SELECT count(*) FROM diffed_units WHERE stream_row IS NULL"
_FIRST_OF = """
SELECT error.key AS metric, error.value AS reason, min(unit_id || ' on ' || side) AS unit
FROM (
    SELECT unit_id, 'a' AS side, unnest(map_entries(metric_errors_a)) AS error FROM diffed_units
    UNION ALL
    SELECT unit_id, 'b' AS side, unnest(map_entries(metric_errors_b)) AS error FROM diffed_units
)
GROUP BY ALL
"""
_IS_ZERO_ON_A = "SELECT coalesce(bool_and(coalesce(metrics_a[$name], 0) = 0), false) FROM diffed_units"
_CHANGED_HEADS = """
SELECT count(*)
FROM plan_streams
LEFT JOIN (
    SELECT aggregate_id, lower(hex(max_by(last_hash, last_version))) AS last_hash
    FROM stream_months
    GROUP BY aggregate_id
) AS heads ON plan_streams.aggregate_id = heads.aggregate_id
WHERE plan_streams.is_noise_sampled AND heads.last_hash IS DISTINCT FROM plan_streams.last_hash
"""
_NO_NOISE = "the log or the code went on since, so the noise floor's draws cannot be compared as they were"


@dataclass(frozen=True, slots=True)
class Remade:
    """A summary of what is left.

    Attributes:
        rows: Its lines.
        headline: What a result says without looking at rows.
        why: Why some lines are of before; None when none is.
    """

    rows: list[dict[str, Any]]
    headline: dict[str, Any]
    why: str | None


def revise_summary(
    lake: Lake,
    partition: Mapping[str, str],
    before: Commit,
    erasures: Mapping[str, int],
    *,
    gone: Collection[str],
    replay: tuple[int, int | None] | None,
    has_units: bool,
) -> Commit:
    """Commit a version's summary anew; one of which no pair is left is a version no more.

    Args:
        lake: Where it is; the rows of what was erased are dropped from the other tables.
        partition: Its `experiment` and `version_id`.
        before: The summary's last commit.
        erasures: Unit pairs that were erased, by erasure.
        gone: Streams of side A whose pairs are dropped.
        replay: Numbers of the replays' commit now and before the erasure: a summary that was of the one is of the other.
        has_units: Whether any pair is left.
    """
    remade: Remade | None = None
    why: str | None = None
    rows: list[dict[str, Any]] = []
    if has_units:
        try:
            remade = remake_summary(lake, partition, before, gone)
            rows, why = remade.rows, remade.why
        except (RefoldError, duckdb.Error) as error:
            why = _reason(error)
            rows = [_of_before(row) for row in _lines(lake, partition)]
    units = sum(erasures.values())
    table = pa.Table.from_pylist([{**row, "erased_units": units} for row in rows], schema=AB_SUMMARY.data_schema())
    with lake.replacing(AB_SUMMARY, partition, number=lake.table(AB_SUMMARY.name).number(partition) + 1) as writer:
        writer.write(AB_SUMMARY.sort(table))
        headline = None if remade is None else remade.headline
        return writer.commit(
            input_hash=_input_hash(partition["version_id"], before.input_hash, replay),
            provenance=revised(before, headline, erasures, why),
        )


def remake_summary(lake: Lake, partition: Mapping[str, str], before: Commit, gone: Collection[str]) -> Remade:
    """The summary of the unit pairs that a version has now.

    Args:
        lake: Where it is.
        partition: The version.
        before: The commit of the summary that there is.
        gone: Streams of side A that count as if they had not been planned.

    Raises:
        RefoldError: What was planned is not known any more, or is not what the pairs are of.
    """
    planned = recall_version(lake, partition)
    is_left = pc.invert(pc.is_in(planned.streams.column("aggregate_id"), pa.array(sorted(gone), pa.string())))
    plan = replace(planned, streams=planned.streams.filter(is_left))
    with lake.connect(_READS) as connection:
        create_relations(connection, lake, plan)
        for name, table in (("diffed_units", "ab_units_history"), ("diffed_calls", "ab_tool_calls_history")):
            values = {key: quote_literal(value) for key, value in partition.items()}
            connection.execute(_LEFT.format(name=name, table=table, **values))
        strangers = connection.execute(_STRANGERS).fetchall()[0][0]
        if strangers:
            raise RefoldError(f"{strangers:,} unit pairs are of conversations that were not planned")
        _tell_failures(connection, before.provenance, gone)
        _find_frames(connection, plan, before.provenance)
        tally = Tally(connection, plan)
        tally.add()
        rules = frozenset(rule.name for rule in plan.experiment.expect)
        lines = summarise(*tally.summary_input(), plan.experiment.metrics, plan.experiment.primary, rules)
        kept: list[dict[str, Any]] = []
        is_same = _is_as_planned(connection, plan)
        if is_same:
            lines += measure_noise(connection, plan)
        elif plan.experiment.noise is not None:
            kept = [_of_before(row) for row in read_summary(connection, partition) if row["kind"] == "noise"]
        headline = tally.headline(lines)
    return Remade([*(line.row() for line in lines), *kept], headline, _NO_NOISE if kept else None)


def _is_as_planned(connection: duckdb.DuckDBPyConnection, plan: Plan) -> bool:
    """Whether the recorded decisions that the noise floor is beside are those that it was made beside."""
    if plan.experiment.noise is None:
        return True
    return is_of_this_code(plan.definition) and not connection.execute(_CHANGED_HEADS).fetchall()[0][0]


def _tell_failures(connection: duckdb.DuckDBPyConnection, told: Mapping[str, Any], gone: Collection[str]) -> None:
    """Name of each way in which a metric fails the first pair that is left, and what was told of it if that is the same."""
    known = {
        (metric, reason): (metric, reason, unit, detail)
        for metric, reason, unit, detail in told.get("first_metric_errors", ())
        if unit.partition(" ")[0].partition("/")[0] not in gone
    }
    for metric, reason, unit in connection.execute(_FIRST_OF).fetchall():
        first = known.get((metric, reason), (metric, reason, unit, reason))
        connection.execute("INSERT INTO metric_failures VALUES (?, ?, ?, ?)", list(first))


def _find_frames(connection: duckdb.DuckDBPyConnection, plan: Plan, told: Mapping[str, Any]) -> None:
    """Name the metrics that compare both sides at once, whose A is 0 in every pair; one that merely was so was told as flat."""
    flat = {name for name, side, value in told.get("flat_metrics", ()) if side == "a" and value == 0}
    for name, metric in plan.experiment.metrics.items():
        if metric.python is None or name in flat:
            continue
        if connection.execute(_IS_ZERO_ON_A, {"name": name}).fetchall()[0][0]:
            connection.execute("INSERT INTO frame_metrics VALUES (?)", [name])


def _lines(lake: Lake, partition: Mapping[str, str]) -> list[dict[str, Any]]:
    with lake.connect("FROM ab_summary_history") as connection:
        return read_summary(connection, partition)


def _of_before(row: Mapping[str, Any]) -> dict[str, Any]:
    """A line that stays as it is, and says so."""
    return {**row, "reason": BEFORE}


def _reason(error: Exception) -> str:
    """Why nothing could be made again, in a sentence; of a database's words the kind alone, for they may quote rows."""
    return (
        str(error) if isinstance(error, RefoldError) else f"its tables cannot be read together ({type(error).__name__})"
    )


def _input_hash(version_id: str, before: str, replay: tuple[int, int | None] | None) -> str:
    """What the summary is of: of the replays as they are now, if it was of the same replays before the erasure."""
    if replay is None:
        return before
    now, then = replay
    known = {input_hash_of(version_id, number) for number in (now, then) if number is not None}
    return input_hash_of(version_id, now) if before in known else before
