"""Fold a month of the lake's log and commit every projection, unless it is up to date.

All projections of a month share the steps on one connection; each is committed on its own, so a fold that stops half-way
leaves whole tables and the next run writes the rest. Memory is bounded by the lake's settings: what does not fit is
spilled by DuckDB.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.folds.aside import Reached, find_culprit, is_too_large
from pipelines.folds.current import RESUMED_FROM, current_months, customers_go_on, is_of_one_log
from pipelines.folds.inputs import Inputs
from pipelines.folds.limits import alone, limit_readers, plan_batches
from pipelines.folds.merging import merge, one_behind
from pipelines.folds.plan import HEADS
from pipelines.folds.reading import sharing_threads
from pipelines.folds.redacted import find_kept
from pipelines.folds.result import FoldResult, current_results, result_of
from pipelines.folds.resume import WANTED
from pipelines.folds.shipped import FOLDS, is_by_stream, projection_query, steps_of
from pipelines.folds.state import state
from pipelines.folds.steps import Prepared, fold_batches, start_month
from pipelines.lake.datasets import find_dataset
from pipelines.lake.lake import Lake
from pipelines.lake.memory import give_back, keeping_freed
from pipelines.lake.partition import PartitionWriter
from pipelines.lake.sizes import most_group_bytes
from pipelines.log.upcasters import Upcasters, load_upcasters

__all__ = ["fold_month", "state"]

_READS = (
    "FROM events, stream_months, redacted_events, snapshots, conversation_months, call_months, customer_snapshots, "
    "customer_months"
)
"""All relations that a month is folded from: to make those that it is not takes 30 ms."""

_MOST_ASIDE = 100
"""Streams of a month that are set aside before more memory is asked for; the month is begun again after each."""

_KEPT_SHARE = 0.25
"""Of the memory bound: what is kept of the freed memory of one range for the next, while ranges are of ordinary events."""

_MERGED_AT_A_TIME, _MERGED_SHARE = 2, 0.02
"""Tables whose row groups are copied at a time; each holds a few groups. One, if a group has more than this share of the memory bound."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be folded: projections of a month that are not up to date.

    Attributes:
        lake: Gets them.
        connection: The lake's, which sees it as of one moment.
        month: YYYY-MM.
        names: The projections.
        wanted: Hash of the inputs of each.
        inputs: Of the folds.
        upcasters: Known types and upcasters, as far as there are such events.
        readers: Ranges of streams that are read at a time.
        on_progress: Told the name of each when it is done.
    """

    lake: Lake
    connection: duckdb.DuckDBPyConnection
    month: str
    names: list[str]
    wanted: Mapping[str, str]
    inputs: Inputs
    upcasters: Upcasters
    readers: int
    on_progress: Callable[[str], Any] | None


def fold_month(
    lake: Lake,
    month: str,
    names: Iterable[str] | None = None,
    *,
    on_progress: Callable[[str], Any] | None = None,
) -> list[FoldResult]:
    """Fold one month.

    The month's rows are a function of the events up to its end and of the redactions, of any month, that hide parts of
    them. Only entities with an event in the month have rows in it.

    Args:
        lake: Holds `events` and `stream_months`; gets the projections.
        month: YYYY-MM.
        names: Projections, or `snapshots`; default: all.
        on_progress: Told the name of each projection when it is done.

    Returns:
        One result per projection, in the order of `names`.

    Raises:
        BadInputError: A name is not a projection's, or the month is not written YYYY-MM.
        CommitLostError: Another writer committed the same month of the same table meanwhile.
    """
    names = tuple(FOLDS if names is None else names)
    upcasters = load_upcasters()
    with lake.connect(_READS) as connection:
        inputs = Inputs(connection, month, upcasters, lake.snapshot_events)
        wanted = {name: inputs.hash(name, month) for name in names}
        results = current_results(lake, month, wanted)
        stale = [name for name in names if name not in results]
        if stale:
            readers = limit_readers(lake, connection)
            present = upcasters.among(_types(connection, month))
            work = _Work(lake, connection, month, stale, wanted, inputs, present, readers, on_progress)
            results |= _fold_what_fits(work)
    return [results[name] for name in names]


def _types(connection: duckdb.DuckDBPyConnection, month: str) -> set[str]:
    """The types of the events up to a month's end, as they are stored."""
    found = connection.execute("SELECT DISTINCT event_type FROM events WHERE month <= $month", {"month": month})
    return {str(each) for (each,) in found.fetchall()}


def _fold_what_fits(work: _Work) -> dict[str, FoldResult]:
    """Fold the projections; streams that are too large for the memory bound are set aside, the largest first."""
    aside: dict[str, int] = {}
    while True:
        reached = Reached()
        try:
            return _fold(work, aside, reached)
        except Exception as error:
            if not is_too_large(error):
                raise
            failure = error.with_traceback(None)  # it would hold all that was in memory
        give_back(work.connection)
        culprit = find_culprit(reached, failure, work.lake)
        if culprit is None or culprit.stream in aside or len(aside) == _MOST_ASIDE:
            raise failure
        aside[culprit.stream] = culprit.enough_bytes


def _fold(work: _Work, aside: Mapping[str, int], reached: Reached) -> dict[str, FoldResult]:
    """Fold the projections: those by stream together, batch after batch, the others one after the other."""
    lake, connection, month, names, inputs = work.lake, work.connection, work.month, work.names, work.inputs
    started = time.monotonic()
    by_stream = [name for name in names if is_by_stream(name)]
    results = {}
    with ExitStack() as opened:
        has_customers = any("customers" in steps_of(name) for name in names)
        go_on = has_customers and customers_go_on(lake, inputs, month)
        with alone(lake, connection):
            kept = find_kept(lake, connection, [each for each in inputs.months if each <= month])
            prepared = start_month(connection, month, names, work.upcasters, HEADS, customers_go_on=go_on, kept=kept)
        reached.plan = prepared.plan
        writers = {
            name: opened.enter_context(lake.replacing(find_dataset(name), {"month": month})) for name in by_stream
        }
        folded = _fold_streams(work, prepared, writers, aside, reached) if by_stream else prepared.streams
        opened.enter_context(lake.remembering())
        for name in names:
            provenance = _provenance(prepared) | {
                "folded_streams": folded,
                "code": inputs.code(name),
                "log": inputs.log(name, month),
                "set_aside": dict(sorted(aside.items())) if name in writers else {},
                "memory_bytes": lake.memory_bytes,
            }
            if name in writers:
                commit = writers[name].commit(input_hash=work.wanted[name], provenance=provenance)
            else:
                commit = lake.write_partition(
                    find_dataset(name),
                    {"month": month},
                    connection,
                    projection_query(name),
                    input_hash=work.wanted[name],
                    provenance=provenance,
                )
            results[name] = result_of(commit, month, is_written=True, seconds=time.monotonic() - started)
            started = time.monotonic()
            if work.on_progress is not None:
                work.on_progress(name)
    return results


def _fold_streams(
    work: _Work, prepared: Prepared, writers: Mapping[str, PartitionWriter], aside: Mapping[str, int], reached: Reached
) -> int:
    """Fold the month's streams, or those that changed if they are few, and write their rows; how many."""
    lake, connection, month, names = work.lake, work.connection, work.month, list(writers)
    plan, is_partial = prepared.plan, False
    size, cuts = plan_batches(lake, month, names)
    if is_of_one_log(lake, work.inputs, month, names):
        plan.leave_out_unchanged()
        is_partial = not aside and plan.events <= prepared.events // 2 and plan.fits(size)
        if not is_partial:
            plan.begin()
    folded = plan.streams
    plan.leave_out(list(aside))
    batches = fold_batches(
        plan,
        names,
        work.upcasters,
        size=size,
        cuts=cuts,
        resumable=current_months(lake, work.inputs, RESUMED_FROM, plan.months_before()),
        is_partial=is_partial,
        snapshot_events=lake.snapshot_events,
        left_out=list(aside),
        reached=reached,
        readers=work.readers,
        memory_bytes=lake.memory_bytes,
    )
    # one range at a time is read where events are so large that a row group of them may need most of the memory
    is_tight = work.readers == 1
    with (
        sharing_threads(connection),
        alone(lake, connection) if is_tight else keeping_freed(int(lake.memory_bytes * _KEPT_SHARE)),
    ):
        if is_partial:
            _merge(lake, connection, month, batches, writers)
        else:
            _write_all(connection, batches, writers)
    return folded


def _write_all(
    connection: duckdb.DuckDBPyConnection,
    batches: Iterable[Mapping[str, pa.Table]],
    writers: Mapping[str, PartitionWriter],
) -> None:
    """Write a projection's rows of a batch while the next are made."""
    with one_behind() as write:
        for whole in batches:
            for name, writer in writers.items():
                write(writer.write, _rows(connection, name, whole))


def _rows(connection: duckdb.DuckDBPyConnection, name: str, whole: Mapping[str, pa.Table]) -> pa.Table:
    """A projection's rows of the current batch."""
    if name in whole:
        return whole[name]
    rows: pa.Table = connection.sql(projection_query(name)).to_arrow_table()
    return rows


def _merge(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    month: str,
    batches: Iterable[Mapping[str, pa.Table]],
    writers: Mapping[str, PartitionWriter],
) -> None:
    """Fold the streams that changed, which are few, and put their rows in the place of their old ones."""
    rows: dict[str, list[pa.Table]] = {name: [] for name in writers}
    for whole in batches:
        for name, made in rows.items():
            made.append(_rows(connection, name, whole))
    streams = connection.sql(WANTED).to_arrow_table()

    files = {name: lake.files(name, {"month": month}) for name in writers}

    def merge_table(name: str) -> None:
        merge(writers[name], files[name], streams, pa.concat_tables(rows.pop(name)))

    largest = max(most_group_bytes(files[name], find_dataset(name).column_names) for name in files)
    with ThreadPoolExecutor(_MERGED_AT_A_TIME if largest <= _MERGED_SHARE * lake.memory_bytes else 1) as pool:
        list(pool.map(merge_table, writers))


def _provenance(prepared: Prepared) -> dict[str, Any]:
    return {
        "streams": prepared.streams,
        "events": prepared.events,
        "erased": prepared.erased_events,
        "skipped_events": prepared.skipped_events,
        "redacted_events": prepared.redacted_events,
        "redactions": prepared.redactions,
        "inexact_redactions": prepared.inexact_redactions,
    }
