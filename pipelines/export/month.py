"""Export one month: one consistent snapshot of the store becomes one commit of `events` and one of `stream_months`.

A month is written whole and sorted, or what is new is added to what the lake holds; which of the two is decided by what
the last export remembers (`snapshot`). In doubt, after a crash, or when counts do not add up, it is written whole.
Nothing is committed before it was compared with the lake and with the store: an export never holds less than before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

import duckdb
import psycopg

from pipelines.export.errors import ExportIncompleteError
from pipelines.export.files import HEADS
from pipelines.export.heads import commit_heads, create_heads, has_gap, refuse_damage
from pipelines.export.reading import SnapshotReader
from pipelines.export.snapshot import Increment, Snapshot, is_sorted, month_bounds, plan_increment, take_snapshot
from pipelines.export.spool import Spool
from pipelines.export.staging import Shares, Stage, Staged, divide_table
from pipelines.lake.datasets import EVENTS, STREAM_MONTHS
from pipelines.lake.errors import told_when_full
from pipelines.lake.files import DataFile
from pipelines.lake.lake import Commit, Lake
from pipelines.lake.partition import PartitionWriter
from pipelines.store import Store, connect
from pipelines.store.sqlstate import typed_errors

__all__ = ["ExportResult", "export_month", "find_exported", "month_bounds", "months_to_export"]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What one month's export did.

    Attributes:
        month: UTC month, YYYY-MM.
        is_written: False when the lake already held exactly this.
        is_sorted: Whether the month is in its one compacted form: all of it sorted by (aggregate_id, stream_version).
        rows: Events of the month.
        added_rows: Events that the lake did not hold before; all of them when that is not remembered.
        late_rows: Those among them that came after the month had ended and been exported.
        streams: Streams with events in the month.
        size_bytes: Bytes of the month's event files.
        input_hash: Hash of what was exported: rows and last position of the month.
        seconds: Time taken.
    """

    month: str
    is_written: bool
    is_sorted: bool
    rows: int
    added_rows: int
    late_rows: int
    streams: int
    size_bytes: int
    input_hash: str
    seconds: float


def export_month(
    dsn: str,
    lake: Lake,
    month: str,
    *,
    full: bool = False,
    on_rows: Callable[[int, int], None] | None = None,
) -> ExportResult:
    """Bring a month of the store into the lake, or find that it is there already.

    Args:
        dsn: The store.
        lake: Where to.
        month: UTC month, YYYY-MM.
        full: Whether the month must end in its sorted form, also when the lake already holds all of its events.
        on_rows: Called with the number of rows read so far, and of rows to read.

    Raises:
        ExportLossError: The store holds less of the month than the lake.
        ExportGapError: A stream lacks a version.
        CommitLostError: Another export of the month committed first.
        DiskFullError: There is no space for it; the lake is as it was.
        StoreUnavailable: The server went away; the lake is as it was.
    """
    started = time.monotonic()
    with told_when_full(lake.root), typed_errors(), connect(dsn) as store:
        store.autocommit = False
        export = _Export(lake, take_snapshot(store, month), store, dsn, on_rows)
        unchanged = export.unchanged()
        if unchanged is None or (full and not is_sorted(unchanged[0])):
            return export.result(export.run(full=full), started, is_written=True)
        return export.result(unchanged, started, is_written=False)


def find_exported(dsn: str, lake: Lake, months: Sequence[str]) -> dict[str, ExportResult]:
    """What exports would say of those of the months that the lake holds already just as the store does; nothing is written.

    Args:
        dsn: The store.
        lake: Where exports go.
        months: UTC months, YYYY-MM.

    Raises:
        StoreUnavailable: The server went away.
    """
    found = {}
    with typed_errors(), connect(dsn) as store:
        store.autocommit = False
        for month in months:
            started = time.monotonic()
            export = _Export(lake, take_snapshot(store, month), store, dsn, None)
            unchanged = export.unchanged()
            if unchanged is not None:
                found[month] = export.result(unchanged, started, is_written=False)
            store.rollback()
    return found


class _UnfittingError(Exception):
    """An increment and what the lake holds do not make the month; it must be written whole."""


class _Export:
    """One export of one month."""

    def __init__(
        self, lake: Lake, now: Snapshot, store: psycopg.Connection, dsn: str, on_rows: Callable[[int, int], None] | None
    ) -> None:
        self.now = now
        self._lake = lake
        self._store = store
        self._dsn = dsn
        self._on_rows = on_rows
        self._partition = {"month": now.month}
        tables = (lake.table(EVENTS.name), lake.table(STREAM_MONTHS.name))
        # Before anything is read: whoever commits from here on makes this export lose.
        self._numbers = [table.number(self._partition) + 1 for table in tables]
        self.known = [lake.last_commit(table.dataset.name, self._partition) for table in tables]

    def unchanged(self) -> tuple[Commit, Commit] | None:
        """The last commits of both tables, if they are of this very content."""
        events, heads = self.known
        if events is None or heads is None or events.input_hash != heads.input_hash or not self.now.is_held_by(events):
            return None
        return events, heads

    def result(self, commits: tuple[Commit, Commit], started: float, *, is_written: bool) -> ExportResult:
        """What the export comes to, with the last commits of both tables."""
        events, heads = commits
        before = self.known[0]
        added = self.now.rows - (before.row_count if before is not None else 0)
        is_late = before is not None and before.committed_at >= self.now.stop
        return ExportResult(
            month=self.now.month,
            is_written=is_written,
            is_sorted=is_sorted(events),
            rows=self.now.rows,
            added_rows=added,
            late_rows=added if is_late else 0,
            streams=heads.row_count,
            size_bytes=events.size_bytes,
            input_hash=events.input_hash,
            seconds=time.monotonic() - started,
        )

    def run(self, *, full: bool) -> tuple[Commit, Commit]:
        """Write and commit; the last commits of both tables."""
        increment = None if full else plan_increment(self.now, *self.known)
        with Spool(self._lake.spill) as spool:
            if increment is not None and self._holds(increment.base):
                try:
                    return self._add(spool, increment)
                except _UnfittingError:
                    pass
            return self._write_whole(spool)

    def _write_whole(self, spool: Spool) -> tuple[Commit, Commit]:
        shares = Shares.of(self._lake.memory_bytes, self.now.rows)
        conditions = divide_table(self.now.where, self.now.blocks, shares.threads)
        with self._replacing() as writer:
            staged = self._stage(spool, shares, writer, conditions, self.now.rows)
            if staged.rows != self.now.rows:
                raise ExportIncompleteError(self.now.month, self.now.rows, staged.rows)
            provenance = self.now.provenance(sorted_rows=staged.rows, increments=0)
            return self._commit(spool, writer, staged, provenance, kept=())

    def _add(self, spool: Spool, increment: Increment) -> tuple[Commit, Commit]:
        """Add what is new.

        Raises:
            _UnfittingError: That does not make the month what the store holds.
        """
        shares = Shares.of(self._lake.memory_bytes, increment.rows)
        with self._replacing() as writer:
            staged = self._stage(spool, shares, writer, [increment.where], increment.rows)
            if staged.rows != increment.rows:
                raise _UnfittingError
            known = increment.base.provenance
            provenance = self.now.provenance(sorted_rows=known["sorted_rows"], increments=known["increments"] + 1)
            return self._commit(spool, writer, staged, provenance, kept=increment.base.files)

    def _replacing(self) -> AbstractContextManager[PartitionWriter]:
        return self._lake.replacing(EVENTS, self._partition, number=self._numbers[0])

    def _holds(self, base: Commit) -> bool:
        """Whether the lake's month still consists of the files of `base`."""
        table = self._lake.table(EVENTS.name)
        return {str(table.path / file.path) for file in base.files} == set(table.files(self._partition))

    def _stage(self, spool: Spool, shares: Shares, writer: PartitionWriter, conditions: list[str], rows: int) -> Staged:
        on_rows = self._on_rows
        told = None if on_rows is None else (lambda done: on_rows(done, rows))
        return Stage(self._dsn, self.now.token, spool, shares, told).write(writer, conditions)

    def _commit(
        self,
        spool: Spool,
        writer: PartitionWriter,
        staged: Staged,
        provenance: dict[str, Any],
        kept: tuple[DataFile, ...],
    ) -> tuple[Commit, Commit]:
        """Compare what was staged, and commit both tables; `kept` are the files that it is added to."""
        with self._lake.connect() as connection:
            noted = (spool.get(place, HEADS) for place in staged.heads)
            create_heads(connection, self.now.month, noted, adds_to_lake=bool(kept))
            if kept:
                _refuse_misfit(connection)
            with closing(SnapshotReader(self._dsn, self.now.token)) as reader:
                refuse_damage(connection, reader, self.now)
            events = writer.commit(input_hash=self.now.input_hash, provenance=provenance, kept=kept)
            heads = commit_heads(
                connection, self._store, self._lake, self.now, number=self._numbers[1], provenance=provenance
            )
        return events, heads


def _refuse_misfit(connection: duckdb.DuckDBPyConnection) -> None:
    if has_gap(connection):
        raise _UnfittingError


def months_to_export(store: Store, lake: Lake) -> list[str]:
    """Months with events in the store or rows in the lake, ascending; strays are listed under their own month."""
    return sorted({status.month for status in store.months() if status.events} | set(lake.months(EVENTS.name)))
