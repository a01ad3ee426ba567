"""Fold a month of the lake's log and commit every projection, unless it is up to date.

All projections of a month share the steps on one connection; each is committed on its own, so a fold that stops half-way
leaves whole tables and the next run writes the rest. Memory is bounded by the lake's settings: what does not fit is
spilled by DuckDB.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.folds.aside import OUT_OF_MEMORY, Reached, find_culprit
from pipelines.folds.customers import GOES_ON_FROM
from pipelines.folds.inputs import Inputs
from pipelines.folds.plan import leave_out, leave_out_unchanged, plan_month
from pipelines.folds.reading import AHEAD, sharing_threads
from pipelines.folds.resume import WANTED
from pipelines.folds.state import state
from pipelines.folds.steps import (
    FOLDS,
    Prepared,
    fold_batches,
    is_by_stream,
    projection_query,
    start_month,
    steps_of,
)
from pipelines.folds.writing import MonthWriter, one_behind
from pipelines.lake.datasets import find_dataset
from pipelines.lake.ladder import Ladder, load_ladder
from pipelines.lake.lake import Commit, Lake
from pipelines.lake.memory import free_bytes, give_back
from pipelines.lake.sizes import most_row_bytes
from pipelines.lake.writers import writing
from pipelines.settings import parse_size

__all__ = ["FoldResult", "find_folded", "fold_month", "state"]

HEADS = "SELECT aggregate_id, month, first_version, last_version, event_count, last_hash FROM stream_months"
_RESUMED_FROM = ("snapshots", "conversation_months", "call_months")
_OF_STATES = frozenset(_RESUMED_FROM)
_BATCH_SHARE, _FLAT_BATCH_SHARE = 0.05, 0.035
"""A batch's events, as columns in the file, by the memory; less when flat tables are made of them, which hold them again."""
_LEAST_EVENTS, _MOST_EVENTS = 250, 400_000
"""Fewer than so many, of some 150 kB each, are not cut further; more gain nothing."""

_VECTOR_EVENTS = 2_048
_VECTOR_SHARE = 0.05
"""Of the memory bound: payloads that DuckDB's threads read at a time, of which each holds several copies."""

_ALONE_SHARE = 0.85
"""Of the memory that is left: what DuckDB may take before there are batches."""

_MOST_ASIDE = 100
"""Streams of a month that are set aside before more memory is asked for; the month is begun again after each."""

_MERGED_AT_A_TIME = 2
"""Tables whose row groups are copied at a time; each holds one group, and what waits to be written."""


@dataclass(frozen=True, slots=True)
class FoldResult:
    """One projection's month.

    Attributes:
        dataset: The projection.
        month: YYYY-MM.
        is_written: False when the table was up to date and nothing was written.
        rows: Rows of the month.
        size_bytes: Bytes of the month's files.
        skipped_events: Events of the month whose type or version is not known.
        redactions: Redactions, of whatever month, in force on events up to the month's end.
        inexact_redactions: Those of them that had to hide more than they named.
        set_aside: Streams with events in the month that cannot be folded within the memory bound, nothing of the month is theirs;
            each with the bytes of a bound that would do, about.
        input_hash: What the month was computed from.
        seconds: Time taken; that of the shared steps is in the first written projection's.
    """

    dataset: str
    month: str
    is_written: bool
    rows: int
    size_bytes: int
    skipped_events: int
    redactions: int
    inexact_redactions: int
    set_aside: dict[str, int]
    input_hash: str
    seconds: float


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
        ladder: Known types and upcasters.
        readers: Ranges of streams that are read at a time.
        on_progress: Told the name of each when it is done.
    """

    lake: Lake
    connection: duckdb.DuckDBPyConnection
    month: str
    names: list[str]
    wanted: Mapping[str, str]
    inputs: Inputs
    ladder: Ladder
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
    ladder = load_ladder()
    with lake.connect() as connection:
        inputs = Inputs(connection, month, ladder, lake.snapshot_events)
        wanted = {name: inputs.hash(name, month) for name in names}
        results = _current_results(lake, month, wanted)
        stale = [name for name in names if name not in results]
        if stale:
            readers = _limit_readers(lake, connection)
            work = _Work(lake, connection, month, stale, wanted, inputs, ladder, readers, on_progress)
            results |= _fold_what_fits(work)
    return [results[name] for name in names]


def find_folded(lake: Lake, months: Sequence[str], names: Sequence[str]) -> dict[str, list[FoldResult]]:
    """What folds would say of those of the months of which all the projections `names` are up to date; nothing is written.

    Args:
        lake: As for `fold_month`.
        months: YYYY-MM.
        names: Projections, or `snapshots`.

    Returns:
        By month, one result per projection, in the order of `names`.
    """
    if not months or not names:
        return {month: [] for month in months}
    found = {}
    with lake.connect() as connection:
        inputs = Inputs(connection, max(months), load_ladder(), lake.snapshot_events)
        for month in months:
            results = _current_results(lake, month, {name: inputs.hash(name, month) for name in names})
            if len(results) == len(names):
                found[month] = [results[name] for name in names]
    return found


def _current_results(lake: Lake, month: str, wanted: Mapping[str, str]) -> dict[str, FoldResult]:
    """Those of the projections that are up to date, by the hash of what they are to be computed from."""
    results = {}
    for name, input_hash in wanted.items():
        commit = lake.last_commit(name, {"month": month})
        if commit is not None and commit.input_hash == input_hash and not _can_more(commit, lake):
            results[name] = _result(commit, month, is_written=False, seconds=0.0)
    return results


def _can_more(commit: Commit, lake: Lake) -> bool:
    """Whether streams of a month were set aside for want of memory, and there is more now."""
    return bool(commit.provenance.get("set_aside")) and lake.memory_bytes > commit.provenance["memory_bytes"]


def _limit_readers(lake: Lake, connection: duckdb.DuckDBPyConnection) -> int:
    """How many ranges are read at a time: one, by one thread, where events are so large that there is no room for more."""
    size = most_row_bytes(lake.files("events"), ("payload",))
    if not math.isfinite(size) or _VECTOR_EVENTS * size * AHEAD <= lake.memory_bytes * _VECTOR_SHARE:
        return AHEAD
    connection.execute("SET threads = 1")
    return 1


@contextmanager
def _alone(lake: Lake, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let DuckDB have most of what is left of the memory bound, while nothing else is held."""
    (usual,) = connection.sql("SELECT current_setting('memory_limit')").fetchall()[0]
    more = int(free_bytes(lake.memory_bytes) * _ALONE_SHARE)
    if more > parse_size("memory_limit", usual):
        connection.execute(f"SET memory_limit = '{more}B'")
    try:
        yield
    finally:
        connection.execute(f"SET memory_limit = '{usual}'")


def _fold_what_fits(work: _Work) -> dict[str, FoldResult]:
    """Fold the projections; streams that are too large for the memory bound are set aside, the largest first."""
    aside: dict[str, int] = {}
    while True:
        reached = Reached()
        try:
            return _fold(work, aside, reached)
        except OUT_OF_MEMORY as error:
            failure = error.with_traceback(None)  # it would hold all that was in memory
        give_back(work.connection)
        culprit = find_culprit(work.connection, work.month, reached, failure, work.lake.memory_bytes)
        if culprit is None or culprit.stream in aside or len(aside) == _MOST_ASIDE:
            raise failure
        aside[culprit.stream] = culprit.enough_bytes


def _fold(work: _Work, aside: Mapping[str, int], reached: Reached) -> dict[str, FoldResult]:
    """Fold the projections: those by stream together, batch after batch, the others one after the other."""
    lake, connection, month, names, inputs = work.lake, work.connection, work.month, work.names, work.inputs
    started = time.monotonic()
    by_stream = [name for name in names if is_by_stream(name)]
    results = {}
    with writing(lake.root), ExitStack() as unfinished:
        goes_on = any("customers" in steps_of(name) for name in names) and _customers_go_on(lake, inputs, month)
        with _alone(lake, connection):
            prepared = start_month(connection, month, names, work.ladder, HEADS, customers_go_on=goes_on)
        writers = {name: MonthWriter(lake, find_dataset(name), month) for name in by_stream}
        for writer in writers.values():
            unfinished.callback(writer.discard)
        folded = prepared.streams
        if by_stream:
            size, cuts = _plan_batches(lake, month, by_stream)
            if _goes_on(lake, inputs, month, by_stream):
                folded, events = leave_out_unchanged(connection, month)
                is_partial = not aside and events <= min(size, prepared.events // 2)
                if not is_partial:
                    folded = plan_month(connection, month, HEADS)[0]
            else:
                is_partial = False
            leave_out(connection, month, list(aside))
            known = _resumable(lake, connection, inputs)
            batches = fold_batches(
                connection,
                month,
                by_stream,
                work.ladder,
                batch_events=size,
                cuts=cuts,
                resumable=known,
                is_partial=is_partial,
                snapshot_events=lake.snapshot_events,
                left_out=list(aside),
                reached=reached,
                readers=work.readers,
                memory_bytes=lake.memory_bytes,
            )
            with sharing_threads(connection):
                if is_partial:
                    _merge(lake, connection, month, batches, writers)
                else:
                    _write_all(connection, batches, writers)
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
            results[name] = _result(commit, month, is_written=True, seconds=time.monotonic() - started)
            started = time.monotonic()
            if work.on_progress is not None:
                work.on_progress(name)
        unfinished.pop_all()
    return results


def _write_all(
    connection: duckdb.DuckDBPyConnection,
    batches: Iterable[Mapping[str, pa.Table]],
    writers: Mapping[str, MonthWriter],
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
    writers: Mapping[str, MonthWriter],
) -> None:
    """Fold the streams that changed, which are few, and put their rows in the place of their old ones."""
    rows: dict[str, list[pa.Table]] = {name: [] for name in writers}
    for whole in batches:
        for name, made in rows.items():
            made.append(_rows(connection, name, whole))
    streams = connection.sql(WANTED).to_arrow_table()

    def merge(name: str) -> None:
        writers[name].merge(lake.files(name, {"month": month}), streams, pa.concat_tables(rows.pop(name)))

    with ThreadPoolExecutor(_MERGED_AT_A_TIME) as pool:
        list(pool.map(merge, writers))


def _goes_on(lake: Lake, inputs: Inputs, month: str, names: list[str]) -> bool:
    """Whether the tables hold what this very code made of one state of the log, the one that the snapshots tell of."""
    commits = [lake.last_commit(name, {"month": month}) for name in names]
    logs = {str(commit.provenance.get("log")) if commit else None for commit in commits}
    is_same_code = all(
        commit is not None and commit.provenance.get("code") == inputs.code(name)
        for name, commit in zip(names, commits, strict=True)
    )
    return "snapshots" in names and is_same_code and len(logs) == 1


def _resumable(lake: Lake, connection: duckdb.DuckDBPyConnection, inputs: Inputs) -> list[str]:
    """The earlier months, among those in which the month's streams last had events, whose snapshots and states are current."""
    months = connection.sql("SELECT DISTINCT last_month FROM fold_behind ORDER BY 1").fetchall()
    return _current(lake, inputs, _RESUMED_FROM, [month for (month,) in months])


def _customers_go_on(lake: Lake, inputs: Inputs, month: str) -> bool:
    """Whether every earlier month of what customers go on from is current; a person's last month is known from no other."""
    earlier = [each for each in inputs.months if each < month]
    return _current(lake, inputs, GOES_ON_FROM, earlier) == earlier


def _current(lake: Lake, inputs: Inputs, names: Sequence[str], months: list[str]) -> list[str]:
    """Those of the months in which all the folds `names` are what a fold would write today."""
    for name in names:
        commits = {commit.partition: commit.input_hash for commit in lake.last_commits(name)} if months else {}
        partition = find_dataset(name).partition_path
        months = [each for each in months if commits.get(partition({"month": each})) == inputs.hash(name, each)]
    return months


def _plan_batches(lake: Lake, month: str, names: list[str]) -> tuple[int, list[str]]:
    """How many events of the month's mean size fit into a batch, and where the row groups of its largest file begin."""
    files = [pq.read_metadata(path) for path in lake.files("events", {"month": month})]
    groups = [[file.row_group(number) for number in range(file.num_row_groups)] for file in files]
    rows = sum(file.num_rows for file in files)
    event_bytes = max(sum(group.total_byte_size for file in groups for group in file) / max(rows, 1), 1.0)
    share = _BATCH_SHARE if set(names) <= _OF_STATES else _FLAT_BATCH_SHARE
    size = min(max(int(lake.memory_bytes * share / event_bytes), _LEAST_EVENTS), _MOST_EVENTS)
    largest = max(groups, key=lambda file: sum(group.num_rows for group in file), default=[])
    firsts = [_first_id(group) for group in largest]
    return size, [first for first in firsts if first is not None]


def _first_id(group: pq.RowGroupMetaData) -> str | None:
    columns = (group.column(number) for number in range(group.num_columns))
    found = next(column.statistics for column in columns if column.path_in_schema == "aggregate_id")
    return str(found.min) if found is not None and found.has_min_max else None


def _provenance(prepared: Prepared) -> dict[str, Any]:
    return {
        "streams": prepared.streams,
        "events": prepared.events,
        "skipped_events": prepared.skipped_events,
        "redacted_events": prepared.redacted_events,
        "redactions": prepared.redactions,
        "inexact_redactions": prepared.inexact_redactions,
    }


def _result(commit: Commit, month: str, *, is_written: bool, seconds: float) -> FoldResult:
    return FoldResult(
        dataset=commit.dataset,
        month=month,
        is_written=is_written,
        rows=commit.row_count,
        size_bytes=commit.size_bytes,
        skipped_events=int(commit.provenance.get("skipped_events", 0)),
        redactions=int(commit.provenance.get("redactions", 0)),
        inexact_redactions=int(commit.provenance.get("inexact_redactions", 0)),
        set_aside=dict(commit.provenance.get("set_aside", {})),
        input_hash=commit.input_hash,
        seconds=seconds,
    )
