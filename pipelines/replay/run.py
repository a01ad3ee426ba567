"""Run a plan: one row of `lake/replays` per unit, from whoever is side B.

A version that is complete is not run again. Nothing here compares anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from pipelines.lake.datasets import REPLAY_STEPS, REPLAYS
from pipelines.lake.lake import Commit, Lake
from pipelines.replay.answer import replay_plan
from pipelines.replay.experiment import is_walked
from pipelines.replay.plan import Plan
from pipelines.replay.pool import replayed_by_workers
from pipelines.replay.rows import STEPS, UNITS, OutcomeTables
from pipelines.replay.units import create_plan_relations, create_units

_TOLD_EVERY = 1_000


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
        with _replayed(lake, connection, plan, on_progress) as first_error:
            commit = _commit(lake, connection, plan)
    seconds = time.monotonic() - started
    return _result(plan, commit, is_written=True, seconds=seconds, first_error=first_error)


def _commit(lake: Lake, connection: duckdb.DuckDBPyConnection, plan: Plan) -> Commit:
    """Write what was replayed; `replays` last, because a version that has it is replayed."""
    failed = connection.sql(
        f"SELECT reason, count(*) FROM {UNITS} WHERE reason IS NOT NULL GROUP BY 1 ORDER BY 1"
    ).fetchall()
    if is_walked(plan.experiment):
        query = f"SELECT * FROM {STEPS}"
        lake.write_partition(REPLAY_STEPS, plan.partition, connection, query, input_hash=plan.version_id)
    return lake.write_partition(
        REPLAYS,
        plan.partition,
        connection,
        f"SELECT * FROM {UNITS}",
        input_hash=plan.version_id,
        provenance={"failures": dict(failed)},
    )


@contextmanager
def _replayed(
    lake: Lake, connection: duckdb.DuckDBPyConnection, plan: Plan, on_progress: Callable[[int], None] | None
) -> Iterator[str | None]:
    """Have the rows of side B in `UNITS` and `STEPS`; yields what went wrong with the first that failed.

    What a candidate's code said may hold anything, so it is told once and kept nowhere.
    """
    if plan.experiment.candidate.kind == "recorded":
        _copy_recorded(connection, plan)
        yield None
    elif plan.experiment.workers:
        with replayed_by_workers(lake, connection, plan, on_progress) as first_error:
            yield first_error
    else:
        yield _replay_here(connection, plan, on_progress)


def _replay_here(
    connection: duckdb.DuckDBPyConnection, plan: Plan, on_progress: Callable[[int], None] | None
) -> str | None:
    """Replay every unit of side B in this process."""
    first_error = None
    tables = OutcomeTables(connection)
    for outcome in replay_plan(connection, plan):
        tables.add(outcome)
        if first_error is None and outcome.detail is not None:
            first_error = f"{outcome.row['unit_id']}: {outcome.detail}"
        if on_progress is not None and tables.done % _TOLD_EVERY == 0:
            on_progress(tables.done)
    tables.flush()
    if on_progress is not None:
        on_progress(tables.done)
    return first_error


def _copy_recorded(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Take the paired recorded runs as they are: complete runs, with the tool answers that they got themselves."""
    create_units(connection, plan, "recorded", "recorded_aggregate_id")
    OutcomeTables(connection)
    connection.execute(
        f"""
        INSERT INTO {UNITS} BY NAME
        SELECT
            recorded.* EXCLUDE (outcome, covered_to) REPLACE (recorded.unit_id AS aggregate_id),
            'conversation' AS unit,
            'candidate' AS side,
            0 AS draw,
            'ok' AS status,
            1 AS attempt,
            recorded.aggregate_id AS recorded_aggregate_id,
            'exact' AS result_source,
            false AS is_tainted,
            false AS is_off_policy
        FROM recorded
        """
    )


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
