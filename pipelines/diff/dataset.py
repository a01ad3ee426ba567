"""Build a version's datasets: `ab_units`, `ab_tool_calls`, `ab_summary`, in this order.

The summary is committed last, so a version with a summary is complete; until then no view shows it. A complete version
is not built again. `result_hash` is a hash of what came out, whatever the files look like.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.diff.noise import measure_noise
from pipelines.diff.rules import tool_rules
from pipelines.diff.shards import create_relations, diff_shards
from pipelines.diff.summary import Line, summarise
from pipelines.diff.tally import Tally
from pipelines.diff.worker import Comparers
from pipelines.errors import RefoldError
from pipelines.lake.datasets import AB_SUMMARY, AB_TOOL_CALLS, AB_UNITS, REPLAYS
from pipelines.lake.lake import Lake
from pipelines.lake.staging import staging
from pipelines.replay.plan import Plan


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
        not_asked: Units beside them about which nobody could be asked; they are in no other number.
        conversations: Conversations of side A that have a pair.
        changed_conversations: Those of them in which some pair that B answered has other tool calls.
        failed: Pairs that side B did not answer.
        same_names: Pairs with the same tool names in order.
        same_calls: Pairs with the same tool calls and arguments in order (L1).
        same_final: Pairs with the same final text.
        outcomes: Pairs by recorded outcome.
        classes: Pairs by unit class.
        fidelity: Answered pairs by how side B was fed; headline numbers use the `exact` ones.
        metric_errors: Metrics that failed on a side of a pair: name, why, how often.
        flat_metrics: Metrics with one value, or none (None), on a whole side that called tools: name, side (a, b), value.
        first_metric_errors: Of each of them the first: name, why, unit and side, where in the metric's file.
        first_failures: Of the replay's failures that are the candidate's, or of what it was given, the first of each kind:
            reason, unit, what is told of it, without recorded values.
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
    not_asked: int
    conversations: int
    changed_conversations: int
    failed: int
    same_names: int
    same_calls: int
    same_final: int
    outcomes: Outcomes
    classes: dict[str, int]
    fidelity: dict[str, int]
    metric_errors: list[tuple[str, str, int]]
    flat_metrics: list[tuple[str, str, float | None]]
    first_metric_errors: list[tuple[str, str, str, str]]
    first_failures: list[tuple[str, str, str]]
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
        return _result(plan, last.provenance, replayed.provenance, is_written=False, seconds=time.monotonic() - started)
    with (
        lake.connect() as connection,
        Comparers(tool_rules(plan.tools), _processes()) as comparers,
        staging(lake, AB_UNITS, plan.partition) as units,
        staging(lake, AB_TOOL_CALLS, plan.partition) as calls,
    ):
        tally = Tally(connection, plan)
        done = 0
        shards = create_relations(connection, lake, plan)
        memory, seconds = lake.memory_bytes // 4, lake.sql_seconds
        for pairs in diff_shards(connection, plan, shards, comparers, memory_bytes=memory, seconds=seconds):
            done += pairs
            tally.add()
            units.add(connection, "SELECT * FROM diffed_units")
            calls.add(connection, "SELECT * FROM diffed_calls")
            if on_progress is not None:
                on_progress(done)
        rules = frozenset(rule.name for rule in plan.experiment.expect)
        lines = summarise(*tally.summary_input(), plan.experiment.metrics, plan.experiment.primary, rules)
        lines += measure_noise(connection, plan)
        _keep_summary(connection, lines)
        headline = tally.headline(lines)
        units.commit(input_hash=input_hash)
        calls.commit(input_hash=input_hash)
        lake.write_partition(
            AB_SUMMARY,
            plan.partition,
            connection,
            "SELECT * FROM diffed_summary",
            input_hash=input_hash,
            provenance=headline,
        )
    return _result(plan, headline, replayed.provenance, is_written=True, seconds=time.monotonic() - started)


def _processes() -> int:
    """Helper processes: one per core, none on a single one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores > 1 else 0


def _keep_summary(connection: duckdb.DuckDBPyConnection, lines: Sequence[Line]) -> None:
    """Make `diffed_summary`."""
    schema = pa.schema([AB_SUMMARY.arrow_schema().field(column.name) for column in AB_SUMMARY.data_columns])
    connection.register("lines", pa.Table.from_pylist([line.row() for line in lines], schema=schema))
    connection.execute("CREATE OR REPLACE TEMP TABLE diffed_summary AS SELECT * FROM lines")
    connection.unregister("lines")


def _result(
    plan: Plan, headline: Mapping[str, Any], replayed: Mapping[str, Any], *, is_written: bool, seconds: float
) -> DiffResult:
    names = (
        "result_hash",
        "unit",
        "pairs",
        "not_asked",
        "conversations",
        "changed_conversations",
        "failed",
        "same_names",
        "same_calls",
        "same_final",
        "classes",
        "fidelity",
    )
    return DiffResult(
        experiment=plan.experiment.experiment,
        version_id=plan.version_id,
        is_written=is_written,
        side_a=plan.experiment.baseline.recorded.describe(),
        side_b=plan.experiment.candidate.describe(),
        window=(_iso(plan.window[0]), _iso(plan.window[1])),
        outcomes=Outcomes(**headline["outcomes"]),
        first_metric_errors=[(n, why, unit, told) for n, why, unit, told in headline.get("first_metric_errors", ())],
        first_failures=[(reason, unit, told) for reason, unit, told in replayed.get("first_failures", ())],
        metric_errors=[(name, why, count) for name, why, count in headline["metric_errors"]],
        flat_metrics=[(name, side, value) for name, side, value in headline.get("flat_metrics", ())],
        seconds=seconds,
        **{name: headline[name] for name in names},
    )


def _iso(bound: datetime | None) -> str | None:
    return None if bound is None else bound.isoformat()
