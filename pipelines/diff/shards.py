"""Diff a version piece by piece: some streams at a time, from the lake to rows of `ab_units` and `ab_tool_calls`.

What is the same is settled in SQL; only texts and lists of tool calls that differ reach Python. A unit's rows depend on
that unit alone and shards follow the order of streams, so where a shard ends changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa

from pipelines.diff.arrays import to_numpy
from pipelines.diff.measure import Measured, measure_pairs, measure_units
from pipelines.diff.metrics import UNIT_COLUMNS, as_maps, evaluate_metrics, expressions
from pipelines.diff.pair.calls import FLAG_SCHEMA, PAIR_SCHEMA, UNIT_SCHEMA
from pipelines.diff.pair.text import CHANGE_SCHEMA
from pipelines.diff.worker import Comparers, Task
from pipelines.experiment.plan import Plan
from pipelines.experiment.units import create_plan_relations, create_units, unit_kind
from pipelines.lake.lake import Lake
from pipelines.lake.sizes import RANGE_SHARE, SAID_BYTES, Range, cut_ranges, prepare_for_large
from pipelines.sqlfiles import read_sql

_SHARD_DECISIONS = 50_000
"""Decisions of a shard: both sides' texts and calls of two such are held at once."""
_BATCH = 2_500
"""Units compared in one go: what a helper process holds in Python objects."""
_SMALL_ROWS, _SMALL_BYTES = 30_000, 32 * 10**6
"""Work of a whole version, of one kind: below both, processes take longer to start than they help."""

# Of a shard the baseline's decisions are counted, and both sides' texts.
_ITEMS = """
SELECT plan.aggregate_id AS id, greatest(coalesce(sum(held.decisions), 0), 1)::BIGINT AS rows, coalesce(sum(held.bytes), 0) AS bytes
FROM all_plan_streams AS plan
LEFT JOIN (
    SELECT aggregate_id, count(*) AS decisions, sum({bytes}) AS bytes FROM decisions GROUP BY aggregate_id
    UNION ALL
    SELECT aggregate_id, 0 AS decisions, sum({bytes}) AS bytes
    FROM replays_history
    WHERE experiment = $experiment AND version_id = $version_id AND side = 'candidate' AND draw = 0
    GROUP BY aggregate_id
) AS held ON plan.aggregate_id = held.aggregate_id
GROUP BY plan.aggregate_id
"""
_TEXTS = """
SELECT unit_row, text_a, text_b
FROM unit_pairs
WHERE text_a <> text_b
"""
_CALLS = """
SELECT
    unit_row,
    list_transform(
        tool_calls_a, LAMBDA call: {'block': call.block, 'name': call.name, 'arguments': recorded_text(call)}
    ) AS tool_calls_a,
    list_transform(
        tool_calls_b, LAMBDA call: {'block': call.block, 'name': call.name, 'arguments': recorded_text(call)}
    ) AS tool_calls_b
FROM unit_pairs
WHERE settled IS NULL AND status = 'ok'
"""
_TEXT_SCHEMA = CHANGE_SCHEMA.insert(0, pa.field("unit_row", pa.int64()))

_Answer: TypeAlias = "Future[tuple[pa.Table, ...]]"


def create_relations(connection: duckdb.DuckDBPyConnection, lake: Lake, plan: Plan) -> list[Range]:
    """Make what all shards share, and cut the plan into shards: of so many decisions, or of what memory has room for."""
    create_plan_relations(connection, plan)
    for macro in ("outcome_is_good", "as_recorded", "recorded_text", "is_plain_object", "is_refusal", "money_in"):
        connection.execute(read_sql(f"diffs/{macro}.sql"))
    connection.execute(
        "CREATE TEMP TABLE all_plan_streams AS SELECT (row_number() OVER (ORDER BY aggregate_id) - 1)::INTEGER AS stream_row, * FROM plan_streams"
    )
    connection.execute(
        """
        CREATE TEMP TABLE all_streams AS
        SELECT * FROM streams
        WHERE aggregate_id IN (
            SELECT aggregate_id FROM plan_streams
            UNION ALL
            SELECT recorded_aggregate_id FROM plan_streams WHERE recorded_aggregate_id IS NOT NULL
        )
        """
    )
    connection.execute(
        "CREATE TEMP TABLE metric_failures (metric VARCHAR, reason VARCHAR, unit VARCHAR, detail VARCHAR)"
    )
    connection.execute("CREATE TEMP TABLE frame_metrics (metric VARCHAR)")
    connection.execute("DROP VIEW streams")
    connection.execute("ALTER TABLE all_streams RENAME TO streams")
    most = int(lake.memory_bytes * RANGE_SHARE)
    files = [*lake.files("decisions"), *lake.files("replays", plan.partition)]
    is_large = prepare_for_large(connection, files, ("text", "tool_calls"), rows=_SHARD_DECISIONS, size=most)
    items = _ITEMS.format(bytes=SAID_BYTES if is_large else "0")
    return cut_ranges(connection, items, plan.partition, rows=_SHARD_DECISIONS, size=most)


def diff_shards(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    shards: Sequence[Range],
    comparers: Comparers,
    *,
    memory_bytes: int,
    seconds: float,
) -> Iterator[int]:
    """Make the temporary tables `diffed_units` and `diffed_calls` of one shard after the other.

    While a shard is finished, the comparers work at the next one.

    Args:
        connection: Has the relations of `create_relations`.
        plan: The version.
        shards: Its streams, in order.
        comparers: Who compares what differs.
        memory_bytes: Bound on the memory of the metrics.
        seconds: Bound on the time of each expression, and of each call of a metric in Python.

    Yields:
        Number of unit pairs of the shard that is in the tables now.

    Raises:
        BadInputError: A metric of the experiment in SQL fails.
    """
    begun: _Begun | None = None
    for number, shard in enumerate(shards):
        following = _begin(connection, plan, shard, comparers, f"unit_pairs_{number % 2}", len(shards))
        if begun is not None:
            yield _finish(connection, plan, begun, memory_bytes, seconds)
        begun = following
    if begun is not None:
        yield _finish(connection, plan, begun, memory_bytes, seconds)


def create_recorded(connection: duckdb.DuckDBPyConnection, plan: Plan, shard: Range) -> None:
    """Let `plan_streams` be the streams of a shard, and `units_a` the units that were recorded in them."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE plan_streams AS SELECT * FROM all_plan_streams WHERE aggregate_id BETWEEN $first AND $last",
        {"first": shard.first, "last": shard.last},
    )
    create_units(connection, plan, "units_a")


@dataclass(frozen=True, slots=True)
class _Begun:
    """A shard of which the comparers have all that they need.

    Attributes:
        table: Its unit pairs.
        texts: What they will say of texts.
        calls: And of tool calls that are not settled.
        flags: And of calls that may be odd.
    """

    table: str
    texts: list[_Answer]
    calls: list[_Answer]
    flags: list[_Answer]


def _begin(
    connection: duckdb.DuckDBPyConnection, plan: Plan, shard: Range, comparers: Comparers, table: str, shards: int
) -> _Begun:
    """Pair the units of a shard, one of so many, in `table`, and give what differs to the comparers."""
    create_recorded(connection, plan, shard)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS {read_sql('diffs/unit_pairs.sql')}",
        {"unit_kind": unit_kind(plan), **plan.partition, "first": shard.first, "last": shard.last},
    )
    _look_at(connection, table)
    tools = {"tools": comparers.schema_tools}
    return _Begun(
        table,
        texts=_compare(connection, "texts", _TEXTS, comparers, shards),
        calls=_compare(connection, "calls", _CALLS, comparers, shards),
        flags=_compare(connection, "flags", read_sql("diffs/odd_calls.sql"), comparers, shards, tools),
    )


def _finish(connection: duckdb.DuckDBPyConnection, plan: Plan, begun: _Begun, memory_bytes: int, seconds: float) -> int:
    """Make `diffed_units` and `diffed_calls` of a shard."""
    _look_at(connection, begun.table)
    _keep_metrics(connection, plan, memory_bytes, seconds)
    _keep(connection, "text_units", [_TEXT_SCHEMA.empty_table(), *(done.result()[0] for done in begun.texts)])
    _keep(connection, "call_flags", [FLAG_SCHEMA.empty_table(), *(done.result()[0] for done in begun.flags)])
    found = [done.result() for done in begun.calls]
    _keep(connection, "call_units", [UNIT_SCHEMA.empty_table(), *(units for units, _ in found)])
    _keep(connection, "call_pairs", [PAIR_SCHEMA.empty_table(), *(pairs for _, pairs in found)])
    for kind, name in (("TABLE", "unit_facts"), ("VIEW", "diffed_units"), ("TABLE", "diffed_calls")):
        connection.execute(f"CREATE OR REPLACE TEMP {kind} {name} AS {read_sql(f'diffs/{name}.sql')}")
    return int(connection.execute("SELECT count(*) FROM unit_pairs").fetchall()[0][0])


def _look_at(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Let `unit_pairs` be a table of unit pairs, with the number of each row."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW unit_pairs AS SELECT rowid AS unit_row, * FROM {table}")


def _compare(
    connection: duckdb.DuckDBPyConnection,
    task: Task,
    query: str,
    comparers: Comparers,
    shards: int,
    params: dict[str, list[str]] | None = None,
) -> list[_Answer]:
    """Give the rows of a query to the comparers, batch by batch; how many shards there are tells how much is to come."""
    rows = connection.sql(query, params=params).to_arrow_table()
    is_small = rows.num_rows * shards < _SMALL_ROWS and rows.nbytes * shards < _SMALL_BYTES
    return [
        comparers.submit(task, rows.slice(start, _BATCH), is_small=is_small)
        for start in range(0, rows.num_rows, _BATCH)
    ]


def _keep_metrics(connection: duckdb.DuckDBPyConnection, plan: Plan, memory_bytes: int, seconds: float) -> None:
    """Make `metrics_a` and `metrics_b`: the own metrics of every unit that the side answered, and what failed in them."""
    metrics = expressions(plan.experiment)
    sides: tuple[Literal["a", "b"], ...] = ("a", "b")
    units: dict[str, pa.Table] = {}
    found: dict[str, Measured] = {}
    for side in sides:
        columns = ", ".join(
            f"len(tool_calls_{side})::INTEGER AS call_count" if name == "call_count" else f"{name}_{side} AS {name}"
            for name in UNIT_COLUMNS
        )
        answered = "status <> 'not_asked'" if side == "a" else "status = 'ok'"
        query = f"SELECT unit_row, unit_id, aggregate_id, {columns} FROM unit_pairs WHERE {answered} ORDER BY unit_row"
        units[side] = connection.sql(query if metrics or plan.measures else f"{query} LIMIT 0").to_arrow_table()
        found[side] = evaluate_metrics(metrics, units[side], side, memory_bytes=memory_bytes, seconds=seconds).joined(
            measure_units(plan.measures, units[side], side, memory_bytes=memory_bytes, seconds=seconds)
        )
    # B answered none that was not asked about
    every, answered_rows = (to_numpy(units[side].column("unit_row"), np.int64) for side in sides)
    rows = np.searchsorted(every, answered_rows)
    pairs = measure_pairs(plan.measures, units["a"].take(rows), units["b"], memory_bytes=memory_bytes, seconds=seconds)
    for name, values in pairs.values.items():
        found["a"].values[name][rows] = np.where(np.isnan(values), np.nan, 0.0)
        connection.execute("INSERT INTO frame_metrics VALUES (?)", [name])
    found["b"] = found["b"].joined(pairs)
    for side in sides:
        maps = {
            "unit_row": units[side].column("unit_row"),
            "metrics": as_maps(found[side].values, units[side].num_rows),
            "errors": pa.array(found[side].errors, pa.map_(pa.string(), pa.string())),
        }
        _keep(connection, f"metrics_{side}", [pa.table(maps)])
        for (name, why), (unit, detail) in found[side].first.items():
            connection.execute("INSERT INTO metric_failures VALUES (?, ?, ?, ?)", [name, why, unit, detail])


def _keep(connection: duckdb.DuckDBPyConnection, name: str, tables: list[pa.Table]) -> None:
    """Make a temporary table of Arrow tables."""
    connection.register("found", pa.concat_tables(tables))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM found")
    connection.unregister("found")
