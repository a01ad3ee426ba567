"""Run a plan: one row of `lake/replays` per unit, from whoever is side B.

A version that is complete is not run again. Nothing here compares anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.lake.datasets import REPLAYS
from pipelines.lake.lake import Commit, Lake
from pipelines.replay.answer import answer_decisions
from pipelines.replay.plan import Plan
from pipelines.replay.units import create_plan_relations, create_units, unit_kind

_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a run did.

    Attributes:
        experiment: Name.
        version_id: Version.
        is_written: False when the version was complete already.
        units: Units replayed, failed ones included.
        failures: Number of failed units by reason.
        first_error: What went wrong with the first unit that the candidate could not answer, told by this run only.
        size_bytes: Bytes of the version's replays.
        seconds: Time taken.
    """

    experiment: str
    version_id: str
    is_written: bool
    units: int
    failures: dict[str, int]
    first_error: str | None
    size_bytes: int
    seconds: float


def run_replay(lake: Lake, plan: Plan, on_progress: Callable[[int], None] | None = None) -> ReplayResult:
    """Put every unit of the plan before side B, unless that was done.

    Args:
        lake: Where the folds are and the replays go.
        plan: What to replay.
        on_progress: Told how many units are answered.
    """
    started = time.monotonic()
    last = lake.last_commit(REPLAYS.name, plan.partition)
    if last is not None and last.input_hash == plan.version_id:
        return _result(plan, last, is_written=False, seconds=time.monotonic() - started)
    with lake.connect() as connection:
        create_plan_relations(connection, plan)
        errors: list[str] = []
        if plan.candidate is not None:
            create_units(connection, plan, "units_a")
            answers = answer_decisions(
                connection, plan.candidate, lambda unit, error: errors.append(f"{unit}: {error}")
            )
            _store(connection, answers, on_progress)
        else:
            _copy_recorded(connection, plan)
        failed = connection.sql(
            "SELECT reason, count(*) FROM answers WHERE reason IS NOT NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()
        commit = lake.write_partition(
            REPLAYS,
            plan.partition,
            connection,
            _ROWS,
            {"unit": unit_kind(plan), "source": _result_source(plan)},
            input_hash=plan.version_id,
            provenance={"failures": dict(failed)},
        )
    # What a candidate's code said may hold anything, so it is told once and kept nowhere.
    return _result(
        plan, commit, is_written=True, seconds=time.monotonic() - started, first_error=errors[0] if errors else None
    )


_ROWS = """
SELECT
    unit_id, $unit AS unit, aggregate_id, decision, 'candidate' AS side, 0 AS draw, status, reason, 1 AS attempt,
    recorded_aggregate_id, $source AS result_source, false AS is_tainted, text, tool_calls, call_count,
    l0_hash, l1_hash, l2_hash, request_sha256, input_tokens, output_tokens, latency_ms, cost_usd
FROM answers
"""

_ANSWER_COLUMNS = (
    "unit_id",
    "aggregate_id",
    "decision",
    "status",
    "reason",
    "recorded_aggregate_id",
    "text",
    "tool_calls",
    "call_count",
    "l0_hash",
    "l1_hash",
    "l2_hash",
    "request_sha256",
    "input_tokens",
    "output_tokens",
    "latency_ms",
    "cost_usd",
)


def _result_source(plan: Plan) -> str:
    """How tool answers were fed: a decision needs none; a recorded run had its own, which are exact."""
    return "not_applicable" if unit_kind(plan) == "decision" else "exact"


def _copy_recorded(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Make `answers` from recorded runs: the paired variant, or (echo) the baseline itself."""
    is_echo = plan.experiment.candidate.kind == "echo"
    create_units(connection, plan, "recorded", "aggregate_id" if is_echo else "recorded_aggregate_id")
    connection.execute(
        f"""
        CREATE TEMP TABLE answers AS
        SELECT
            recorded.* REPLACE (split_part(recorded.unit_id, '/', 1) AS aggregate_id),
            'ok' AS status,
            NULL::VARCHAR AS reason,
            {"NULL::VARCHAR" if is_echo else "recorded.aggregate_id"} AS recorded_aggregate_id
        FROM recorded
        """
    )


def _store(
    connection: duckdb.DuckDBPyConnection, answers: Iterator[dict[str, Any]], on_progress: Callable[[int], None] | None
) -> None:
    """Make `answers` from rows, batch by batch, so that memory does not grow with their number."""
    schema = pa.schema([REPLAYS.arrow_schema().field(name) for name in _ANSWER_COLUMNS])
    connection.register("batch", schema.empty_table())
    connection.execute("CREATE TEMP TABLE answers AS SELECT * FROM batch")
    batch: list[dict[str, Any]] = []
    done = 0

    def flush() -> None:
        nonlocal done
        connection.register("batch", pa.Table.from_pylist(batch, schema=schema))
        connection.execute("INSERT INTO answers SELECT * FROM batch")
        done += len(batch)
        batch.clear()
        if on_progress is not None:
            on_progress(done)

    for answer in answers:
        batch.append(answer)
        if len(batch) == _BATCH:
            flush()
    flush()
    connection.unregister("batch")


def _result(
    plan: Plan, commit: Commit, *, is_written: bool, seconds: float, first_error: str | None = None
) -> ReplayResult:
    return ReplayResult(
        experiment=plan.experiment.experiment,
        version_id=plan.version_id,
        is_written=is_written,
        units=commit.row_count,
        failures=dict(commit.provenance["failures"]),
        first_error=first_error,
        size_bytes=commit.size_bytes,
        seconds=seconds,
    )
