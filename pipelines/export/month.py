"""Export one month: one consistent snapshot of the store becomes one commit of `events` and one of `stream_months`.

A month is written whole and sorted, or what is new is added to what the lake holds; which of the two is decided by what
the last export remembers (`snapshot`). In doubt, after a crash, or when counts do not add up, it is written whole.
Nothing is committed before it was compared with the lake and with the store: an export never holds less than before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from typing import Any

import duckdb
import psycopg

from pipelines.export.errors import ExportIncompleteError
from pipelines.export.files import HEADS
from pipelines.export.heads import commit_heads, create_heads, has_gap, has_moved, refuse_damage
from pipelines.export.reading import SnapshotReader
from pipelines.export.result import ExportResult, Held
from pipelines.export.snapshot import Increment, Snapshot, is_sorted, plan_increment, take_snapshot
from pipelines.export.spool import Spool
from pipelines.export.staging import Shares, Stage, Staged, divide_table
from pipelines.lake.datasets import EVENTS, STREAM_MONTHS
from pipelines.lake.datasets.log import MOVED_AT
from pipelines.lake.errors import told_when_full
from pipelines.lake.files import DataFile
from pipelines.lake.lake import Commit, Lake
from pipelines.lake.partition import PartitionWriter
from pipelines.store import connect
from pipelines.store.sqlstate import typed_errors

__all__ = ["export_month"]


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
        unchanged = export.held.unchanged()
        if unchanged is None or (full and not is_sorted(unchanged[0])):
            return export.held.result(export.run(full=full), started, is_written=True)
        return export.held.result(unchanged, started, is_written=False)


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
        self.held = Held(lake, now)

    def run(self, *, full: bool) -> tuple[Commit, Commit]:
        """Write and commit; the last commits of both tables."""
        increment = None if full else plan_increment(self.now, *self.held.known)
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
        with self._lake.connect("FROM stream_months") as connection:
            noted = (spool.get(place, HEADS) for place in staged.heads)
            create_heads(connection, self.now.month, noted, adds_to_lake=bool(kept))
            if kept:
                _refuse_misfit(connection)
            with closing(SnapshotReader(self._dsn, self.now.token)) as reader:
                refuse_damage(connection, reader, self.now)
            provenance[MOVED_AT] = self._moved_at(connection)
            events = writer.commit(input_hash=self.now.input_hash, provenance=provenance, kept=kept)
            heads = commit_heads(
                connection, self._store, self._lake, self.now, number=self._numbers[1], provenance=provenance
            )
        return events, heads

    def _moved_at(self, connection: duckdb.DuckDBPyConnection) -> str | None:
        """When an export of the month last brought what agents did; None when none ever did."""
        if has_moved(connection, self.now.month):
            return datetime.now(UTC).isoformat()
        last = self._lake.last_commit(EVENTS.name, self._partition)
        if last is None or MOVED_AT in last.provenance:
            return None if last is None else last.provenance[MOVED_AT]
        return last.committed_at.isoformat()


def _refuse_misfit(connection: duckdb.DuckDBPyConnection) -> None:
    if has_gap(connection):
        raise _UnfittingError
