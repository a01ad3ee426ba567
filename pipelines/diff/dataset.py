"""Build a version's datasets: `ab_units`, `ab_tool_calls`, `ab_summary`, in this order.

The summary is committed last, so a version with a summary is complete; until then no view shows it. A complete version
is not built again. `result_hash` is a hash of what came out, whatever the files look like.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pyarrow as pa

from pipelines.diff.noise import measure_noise
from pipelines.diff.pair.rules import tool_rules
from pipelines.diff.result import DiffResult, find_diff, input_hash_of, result_of
from pipelines.diff.shards import create_relations, diff_shards
from pipelines.diff.summary import summarise
from pipelines.diff.tally import Tally
from pipelines.diff.worker import Comparers
from pipelines.errors import BadInputError, RefoldError
from pipelines.experiment.closed import is_closed, tell_closed
from pipelines.experiment.plan import Plan
from pipelines.experiment.units import READS
from pipelines.experiment.versions import find_replays
from pipelines.lake.datasets import AB_SUMMARY, AB_TOOL_CALLS, AB_UNITS
from pipelines.lake.lake import Lake


def build_diff(lake: Lake, plan: Plan, on_progress: Callable[[int], None] | None = None) -> DiffResult:
    """Diff a replayed version and keep it, unless it is complete.

    Args:
        lake: Where the replays are and the diff goes.
        plan: The version; `run_replay` must have run.
        on_progress: Told how many unit pairs are diffed.

    Raises:
        RefoldError: The version was not replayed.
        BadInputError: A metric of the experiment fails, or units of the version were erased.
    """
    started = time.monotonic()
    found = find_diff(lake, plan)
    if found is not None:
        return found
    replayed = find_replays(lake, plan)
    if replayed is None:
        raise RefoldError(f"version {plan.version_id} of {plan.experiment.experiment} is not replayed; run `refold ab`")
    if is_closed(replayed):
        raise BadInputError(tell_closed(plan.experiment.experiment, plan.version_id))
    input_hash = input_hash_of(plan.version_id, replayed.number)
    with (
        lake.connect(READS) as connection,
        Comparers(tool_rules(plan.tools), _processes()) as comparers,
        lake.replacing(AB_UNITS, plan.partition) as units,
        lake.replacing(AB_TOOL_CALLS, plan.partition) as calls,
        lake.replacing(AB_SUMMARY, plan.partition) as summary,
    ):
        tally = Tally(connection, plan)
        done = 0
        shards = create_relations(connection, lake, plan)
        memory, seconds = lake.memory_bytes // 4, lake.sql_seconds
        for pairs in diff_shards(connection, plan, shards, comparers, memory_bytes=memory, seconds=seconds):
            done += pairs
            tally.add()
            units.write_query(connection, "SELECT * FROM diffed_units")
            calls.write_query(connection, "SELECT * FROM diffed_calls")
            if on_progress is not None:
                on_progress(done)
        rules = frozenset(rule.name for rule in plan.experiment.expect)
        lines = summarise(*tally.summary_input(), plan.experiment.metrics, plan.experiment.primary, rules)
        lines += measure_noise(connection, plan)
        headline = tally.headline(lines)
        units.commit(input_hash=input_hash)
        calls.commit(input_hash=input_hash)
        rows = pa.Table.from_pylist([line.row() for line in lines], schema=AB_SUMMARY.data_schema())
        summary.write(AB_SUMMARY.sort(rows))
        summary.commit(input_hash=input_hash, provenance=headline)
    seconds = time.monotonic() - started
    told = (headline, replayed.provenance)
    return result_of(plan.experiment, plan.version_id, plan.window, *told, is_written=True, seconds=seconds)


def _processes() -> int:
    """Helper processes: one per core, none on a single one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores > 1 else 0
