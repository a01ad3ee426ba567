"""Build a version's datasets: `ab_units`, `ab_tool_calls`, `ab_summary`, in this order.

The summary is committed last, so a version with a summary is complete; until then no view shows it. A complete version
is not built again. `result_hash` is a hash of what came out, whatever the files look like.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from pipelines.canonical.calls import Canonicaliser
from pipelines.diff.pairs import Row, diff_pairs
from pipelines.diff.summary import DIFFERENCES, UnitColumns, summarise
from pipelines.errors import RefoldError
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import AB_SUMMARY, AB_TOOL_CALLS, AB_UNITS, REPLAYS
from pipelines.lake.lake import Commit, Lake
from pipelines.replay.plan import Plan
from pipelines.replay.units import create_plan_relations, create_units, unit_kind
from pipelines.sqlfiles import read_sql

_BATCH = 5_000

_COUNTS = """
SELECT
    count(*) AS pairs,
    count(DISTINCT aggregate_id) AS conversations,
    count(DISTINCT aggregate_id) FILTER (WHERE is_same_calls IS DISTINCT FROM true) AS changed_conversations,
    count(*) FILTER (WHERE status <> 'ok') AS failed,
    count(*) FILTER (WHERE is_same_names) AS same_names,
    count(*) FILTER (WHERE is_same_calls) AS same_calls,
    count(*) FILTER (WHERE is_same_final) AS same_final,
    count(*) FILTER (WHERE outcome_a AND outcome_b) AS both,
    count(*) FILTER (WHERE outcome_a AND NOT outcome_b) AS only_a,
    count(*) FILTER (WHERE NOT outcome_a AND outcome_b) AS only_b,
    count(*) FILTER (WHERE NOT outcome_a AND NOT outcome_b) AS neither
FROM diffed_units
"""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Pairs by recorded outcome; pairs in which a side has none are in no field."""

    both: int
    only_a: int
    only_b: int
    neither: int


@dataclass(frozen=True, slots=True)
class DiffResult:
    """One version's headline.

    Attributes:
        experiment: Name.
        version_id: Hash of everything that determines the version.
        result_hash: Hash of what came out.
        is_written: False when the version was complete already.
        side_a: The baseline, in words.
        side_b: The candidate, in words.
        window: Half-open UTC bounds of the conversations' start, ISO 8601; None for no bound.
        unit: What is paired.
        pairs: Unit pairs.
        conversations: Conversations of side A that have a pair.
        changed_conversations: Those of them in which some pair has other tool calls, or no answer.
        failed: Pairs that side B did not answer.
        same_names: Pairs with the same tool names in order.
        same_calls: Pairs with the same tool calls and arguments in order (L1).
        same_final: Pairs with the same final text.
        outcomes: Pairs by recorded outcome.
        classes: Pairs by unit class.
        seconds: Time taken.
    """

    experiment: str
    version_id: str
    result_hash: str
    is_written: bool
    side_a: str
    side_b: str
    window: tuple[str | None, str | None]
    unit: str
    pairs: int
    conversations: int
    changed_conversations: int
    failed: int
    same_names: int
    same_calls: int
    same_final: int
    outcomes: Outcomes
    classes: dict[str, int]
    seconds: float


def build_diff(lake: Lake, plan: Plan, on_progress: Callable[[int], None] | None = None) -> DiffResult:
    """Diff a replayed version and keep it, unless it is complete.

    Args:
        lake: Where the replays are and the diff goes.
        plan: The version; `run_replay` must have run.
        on_progress: Told how many unit pairs are diffed.

    Raises:
        RefoldError: The version was not replayed.
        BadInputError: A metric of the experiment fails.
    """
    started = time.monotonic()
    replayed = lake.last_commit(REPLAYS.name, plan.partition)
    if replayed is None or replayed.input_hash != plan.version_id:
        raise RefoldError(f"version {plan.version_id} of {plan.experiment.experiment} is not replayed; run `refold ab`")
    input_hash = f"{plan.version_id}/{replayed.number}"
    last = lake.last_commit(AB_SUMMARY.name, plan.partition)
    if last is not None and last.input_hash == input_hash:
        return _result(plan, last.provenance, is_written=False, seconds=time.monotonic() - started)
    with lake.connect() as connection:
        _diff_all(connection, lake, plan, on_progress)
        headline = _headline(connection, plan)
        for dataset, table in (
            (AB_UNITS, "diffed_units"),
            (AB_TOOL_CALLS, "diffed_calls"),
            (AB_SUMMARY, "diffed_summary"),
        ):
            provenance = headline if dataset is AB_SUMMARY else {}
            _write(lake, dataset, plan, connection, table, input_hash, provenance)
    return _result(plan, headline, is_written=True, seconds=time.monotonic() - started)


def _diff_all(
    connection: duckdb.DuckDBPyConnection, lake: Lake, plan: Plan, on_progress: Callable[[int], None] | None
) -> None:
    """Make `diffed_units`, `diffed_calls` and `diffed_summary`."""
    create_plan_relations(connection, plan)
    create_units(connection, plan, "units_a")
    connection.execute(read_sql("diffs/outcome_is_good.sql"))
    units = _Sink(connection, AB_UNITS, "diffed_units")
    calls = _Sink(connection, AB_TOOL_CALLS, "diffed_calls")
    params: dict[str, Any] = {"unit_kind": unit_kind(plan), **plan.partition}
    connection.execute(f"CREATE TEMP TABLE unit_pairs AS {read_sql('diffs/unit_pairs.sql')}", params)
    canonicaliser = Canonicaliser()
    total = connection.sql("SELECT count(*) FROM unit_pairs").fetchall()[0][0]
    for offset in range(0, total, _BATCH):
        query = "SELECT * FROM unit_pairs WHERE rowid >= $start AND rowid < $stop ORDER BY rowid"
        params = {"start": offset, "stop": offset + _BATCH}
        rows = connection.sql(query, params=params).to_arrow_table().to_pylist()
        unit_rows, call_rows = diff_pairs(
            rows, plan.experiment.metrics, canonicaliser, memory_bytes=lake.memory_bytes // 4
        )
        units.add(unit_rows)
        calls.add(call_rows)
        if on_progress is not None:
            on_progress(offset + len(rows))
    summary = _Sink(connection, AB_SUMMARY, "diffed_summary")
    lines = summarise(_unit_columns(connection, plan), plan.experiment.metrics, plan.experiment.primary)
    summary.add([line.row() for line in lines])


class _Sink:
    """A temporary table with a dataset's data columns, filled batch by batch."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, dataset: Dataset, name: str) -> None:
        self._connection, self._name = connection, name
        fields = [dataset.arrow_schema().field(column.name) for column in dataset.data_columns]
        self._schema = pa.schema(fields)
        connection.register("batch", self._schema.empty_table())
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM batch")
        connection.unregister("batch")

    def add(self, rows: list[Row]) -> None:
        self._connection.register("batch", pa.Table.from_pylist(rows, schema=self._schema))
        self._connection.execute(f"INSERT INTO {self._name} SELECT * FROM batch")
        self._connection.unregister("batch")


def _unit_columns(connection: duckdb.DuckDBPyConnection, plan: Plan) -> UnitColumns:
    """The columns of `diffed_units` that the summary reads, in the order of units."""

    def floats(expression: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        query = f"SELECT ({expression})::DOUBLE AS value FROM diffed_units ORDER BY unit_id"
        column = connection.sql(query).to_arrow_table().column("value")
        return np.array([np.nan if value is None else value for value in column.to_pylist()], dtype=np.float64)

    def texts(column: str) -> list[Any]:
        query = f"SELECT {column} AS value FROM diffed_units ORDER BY unit_id"
        return list(connection.sql(query).to_arrow_table().column("value").to_pylist())

    # A unit that B did not answer is not the same in anything; text is compared only where both sides have one.
    shares = {
        "same_names": floats("CASE WHEN status = 'ok' THEN is_same_names ELSE false END"),
        "same_calls": floats("CASE WHEN status = 'ok' THEN is_same_calls ELSE false END"),
        "same_final": floats("CASE WHEN status = 'ok' THEN is_same_final WHEN text_a IS NOT NULL THEN false END"),
        "failed": floats("status <> 'ok'"),
    }
    sides = {}
    columns = {"outcome_good": "outcome"}
    for name in DIFFERENCES:
        column = columns.get(name, name)
        a, b = floats(f"{column}_a"), floats(f"{column}_b")
        if not (np.isnan(a) | np.isnan(b)).all():
            sides[name] = (a, b)
    for name in plan.experiment.metrics:
        sides[name] = (floats(f"metrics_a['{name}']"), floats(f"metrics_b['{name}']"))
    segments: dict[str, Sequence[str | None]] = {segment: texts(segment) for segment in plan.experiment.segments}
    return UnitColumns(texts("cluster"), segments, shares, sides)


def _headline(connection: duckdb.DuckDBPyConnection, plan: Plan) -> dict[str, Any]:
    """What a result says without looking at rows again; kept with the summary's commit."""
    counts = dict(zip(*_first_row(connection, _COUNTS), strict=True))
    classes = connection.sql("SELECT unit_class, count(*) FROM diffed_units GROUP BY 1 ORDER BY 1").fetchall()
    digest = hashlib.sha256()
    for table, order in (("diffed_units", "unit_id"), ("diffed_calls", "unit_id, pair"), ("diffed_summary", "ALL")):
        hashes = connection.sql(f"SELECT sha256(to_json(t)::VARCHAR) AS row_hash FROM {table} AS t ORDER BY {order}")
        for batch in hashes.to_arrow_reader(100_000):
            digest.update("".join(batch.column("row_hash").to_pylist()).encode())
    outcomes = {name: counts.pop(name) for name in ("both", "only_a", "only_b", "neither")}
    return {
        **counts,
        "outcomes": outcomes,
        "classes": dict(classes),
        "unit": unit_kind(plan),
        "result_hash": digest.hexdigest(),
        "definition": plan.definition,
    }


def _first_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[list[str], tuple[Any, ...]]:
    relation = connection.sql(query)
    return relation.columns, relation.fetchall()[0]


def _write(
    lake: Lake,
    dataset: Dataset,
    plan: Plan,
    connection: duckdb.DuckDBPyConnection,
    table: str,
    input_hash: str,
    provenance: Mapping[str, Any],
) -> Commit:
    query = f"SELECT * FROM {table}"
    return lake.write_partition(
        dataset, plan.partition, connection, query, input_hash=input_hash, provenance=provenance
    )


def _result(plan: Plan, headline: Mapping[str, Any], *, is_written: bool, seconds: float) -> DiffResult:
    names = (
        "result_hash",
        "unit",
        "pairs",
        "conversations",
        "changed_conversations",
        "failed",
        "same_names",
        "same_calls",
        "same_final",
        "classes",
    )
    return DiffResult(
        experiment=plan.experiment.experiment,
        version_id=plan.version_id,
        is_written=is_written,
        side_a=plan.experiment.baseline.recorded.describe(),
        side_b=plan.experiment.candidate.describe(),
        window=(_iso(plan.window[0]), _iso(plan.window[1])),
        outcomes=Outcomes(**headline["outcomes"]),
        seconds=seconds,
        **{name: headline[name] for name in names},
    )


def _iso(bound: datetime | None) -> str | None:
    return None if bound is None else bound.isoformat()
