"""Export one month: one consistent snapshot of the store becomes one commit of `events` and one of `stream_months`.

The month is selected by `created_at` from the parent table, never by a partition's name, so strays in the DEFAULT
partition are in. Rows travel as Arrow by binary COPY, are sorted by DuckDB within its memory bound (spilling to disk),
and are compared with what the lake held before: an export never holds less.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa

from pipelines.export.errors import ExportGapError, ExportLossError
from pipelines.lake.datasets import EVENTS, STREAM_MONTHS
from pipelines.lake.lake import Lake
from pipelines.store import Store

_RULES = "export/1"
"""Part of the input hash: a change of what an exported month looks like exports every month again."""

_SIGNATURE = """
SELECT
    count(*),
    max(position),
    (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint),
    max(created_at)
FROM refold.events
WHERE created_at >= %(start)s AND created_at < %(stop)s
"""

# The bounds are computed here, never the user's text: ADBC's COPY path binds no parameters.
_EVENTS_QUERY = """
SELECT
    aggregate_id::text AS aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata,
    created_at, epoch, xid::text::bigint AS xid, position, hash
FROM refold.events
WHERE created_at >= '{start}' AND created_at < '{stop}'
"""

_PREV_HASH_QUERY = """
SELECT entered.aggregate_id::text AS aggregate_id, before.hash
FROM (
    SELECT aggregate_id, min(stream_version) AS first_version
    FROM refold.events
    WHERE created_at >= '{start}' AND created_at < '{stop}'
    GROUP BY aggregate_id
    HAVING min(stream_version) > 1
) AS entered
JOIN refold.events AS before
    ON before.aggregate_id = entered.aggregate_id
    AND before.stream_version = entered.first_version - 1
    AND before.created_at < '{start}'
"""

_HEADS = """
SELECT
    aggregate_id,
    any_value(aggregate_type) AS aggregate_type,
    min(stream_version) AS first_version,
    max(stream_version) AS last_version,
    count(*) AS event_count,
    max_by(hash, stream_version) AS last_hash
FROM read_parquet($files)
GROUP BY aggregate_id
"""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What one month's export did.

    Attributes:
        month: UTC month, YYYY-MM.
        is_written: False when the lake already held exactly this.
        is_sorted: Whether the month is in its one compacted form: all of it sorted by (aggregate_id, stream_version).
        rows: Events of the month.
        streams: Streams with events in the month.
        size_bytes: Bytes of the month's event files.
        input_hash: Hash of what was exported: rows and last position of the month.
        seconds: Time taken.
    """

    month: str
    is_written: bool
    is_sorted: bool
    rows: int
    streams: int
    size_bytes: int
    input_hash: str
    seconds: float


def month_bounds(month: str) -> tuple[datetime, datetime]:
    """First instant of a UTC month (YYYY-MM) and of the one after it."""
    year, number = int(month[:4]), int(month[5:7])
    start = datetime(year, number, 1, tzinfo=UTC)
    if (year, number) == (9999, 12):
        return start, datetime.max.replace(tzinfo=UTC)
    return start, datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def export_month(
    dsn: str,
    lake: Lake,
    month: str,
    *,
    full: bool = False,
    on_rows: Callable[[int], None] | None = None,
) -> ExportResult:
    """Bring a month of the store into the lake, or find that it is there already.

    Args:
        dsn: The store.
        lake: Where to.
        month: UTC month, YYYY-MM.
        full: Whether the month must end in its sorted form, also when the lake already holds all of its events.
        on_rows: Called with the number of rows read so far.

    Raises:
        ExportLossError: The store holds less of the month than the lake.
        ExportGapError: A stream lacks a version.
        CommitLostError: Another export of the month committed first.
    """
    del full  # every export writes the sorted form so far
    started = time.monotonic()
    start, stop = month_bounds(month)
    partition = {"month": month}
    with psycopg.connect(dsn) as snapshot:
        snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # Before the snapshot is taken: strays that move to their month while this waits must not be missed in both places.
        snapshot.execute("LOCK TABLE ONLY refold.events IN ACCESS SHARE MODE")
        row = snapshot.execute(_SIGNATURE, {"start": start, "stop": stop}).fetchone()
        assert row is not None
        rows, last_position, xmin, last_created_at = row
        input_hash = hashlib.sha256(json.dumps([_RULES, month, rows, last_position]).encode()).hexdigest()
        known = [lake.last_commit(dataset.name, partition) for dataset in (EVENTS, STREAM_MONTHS)]
        if all(commit is not None and commit.input_hash == input_hash for commit in known):
            events, heads = known
            assert events is not None
            assert heads is not None
            seconds = time.monotonic() - started
            return ExportResult(month, False, True, rows, heads.row_count, events.size_bytes, input_hash, seconds)
        token = snapshot.execute("SELECT pg_export_snapshot()").fetchone()
        assert token is not None
        provenance = {
            "rows": rows,
            "last_position": last_position,
            "xmin": xmin,
            "last_created_at": last_created_at.isoformat() if last_created_at else None,
        }
        with closing(_SnapshotReader(dsn, token[0])) as reader:
            bounds = {"start": start.isoformat(), "stop": stop.isoformat()}
            streams, size_bytes = _write(lake, month, reader, bounds, input_hash, provenance, on_rows)
    return ExportResult(month, True, True, rows, streams, size_bytes, input_hash, time.monotonic() - started)


class _SnapshotReader:
    """Arrow reads of the store at an exported snapshot."""

    def __init__(self, dsn: str, token: str) -> None:
        import adbc_driver_postgresql.dbapi as adbc  # noqa: PLC0415 -- loads pandas, which verbs that do not export need not

        self._connection = adbc.connect(dsn, autocommit=True)
        with self._connection.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute(f"SET TRANSACTION SNAPSHOT '{token}'")

    def read(self, query: str, on_rows: Callable[[int], None] | None = None) -> pa.RecordBatchReader:
        """The result as a stream of batches; `on_rows` is told how many rows have passed."""
        cursor = self._connection.cursor()
        cursor.execute(query)
        batches = cursor.fetch_record_batch()

        def counted() -> Iterator[pa.RecordBatch]:
            seen = 0
            with cursor:
                for batch in batches:
                    seen += batch.num_rows
                    if on_rows is not None:
                        on_rows(seen)
                    yield batch

        return pa.RecordBatchReader.from_batches(batches.schema, counted())

    def close(self) -> None:
        self._connection.close()


def _write(
    lake: Lake,
    month: str,
    reader: _SnapshotReader,
    bounds: dict[str, str],
    input_hash: str,
    provenance: dict[str, Any],
    on_rows: Callable[[int], None] | None,
) -> tuple[int, int]:
    """Commit both tables of the month; streams of the month and bytes of its event files."""
    partition = {"month": month}
    with lake.connect() as connection:
        connection.register("incoming", reader.read(_EVENTS_QUERY.format(**bounds), on_rows))

        def check(files: list[str]) -> None:
            source = _HEADS if files else "SELECT * FROM stream_months WHERE false"
            connection.sql(f"CREATE TEMP TABLE heads AS {source}", params={"files": files} if files else {})
            _refuse_loss(connection, month)

        events = lake.write_partition(
            EVENTS,
            partition,
            connection,
            "SELECT * FROM incoming",
            input_hash=input_hash,
            provenance=provenance,
            check=check,
        )
        connection.register("before", reader.read(_PREV_HASH_QUERY.format(**bounds)))
        query = """
            SELECT heads.*, coalesce(before.hash, unhex(repeat('00', 32))) AS prev_hash
            FROM heads LEFT JOIN before USING (aggregate_id)
        """
        written = lake.write_partition(
            STREAM_MONTHS, partition, connection, query, input_hash=input_hash, provenance=provenance
        )
    return written.row_count, events.size_bytes


def _refuse_loss(connection: Any, month: str) -> None:
    """Compare the staged month with the lake's: same streams or more, same versions or more, none missing inside."""
    gap = connection.sql(
        "SELECT aggregate_id, first_version, last_version, event_count FROM heads "
        "WHERE event_count <> last_version - first_version + 1 ORDER BY aggregate_id LIMIT 1"
    ).fetchall()
    if gap:
        aggregate_id, first, last, count = gap[0]
        raise ExportGapError(
            month, aggregate_id, f"versions {first} to {last} should be {last - first + 1} events, there are {count}"
        )
    lost = connection.sql(
        """
        SELECT lake.aggregate_id, lake.last_version, heads.last_version
        FROM stream_months AS lake LEFT JOIN heads USING (aggregate_id)
        WHERE
            lake.month = $month
            AND (
                heads.aggregate_id IS NULL
                OR heads.first_version > lake.first_version
                OR heads.last_version < lake.last_version
                OR (heads.last_version = lake.last_version AND heads.last_hash <> lake.last_hash)
            )
        ORDER BY lake.aggregate_id
        """,
        params={"month": month},
    ).fetchall()
    if lost:
        aggregate_id, lake_version, store_version = lost[0]
        in_store = (
            "does not have it"
            if store_version is None
            else f"has it up to version {store_version} or with another hash"
        )
        raise ExportLossError(
            month,
            f"{len(lost):,} streams of the lake are not the store's; first {aggregate_id}: "
            f"the lake has it up to version {lake_version}, the store {in_store}",
        )


def months_to_export(store: Store, lake: Lake) -> list[str]:
    """Months with events in the store or rows in the lake, ascending; strays are listed under their own month."""
    return sorted({status.month for status in store.months() if status.events} | set(lake.months(EVENTS.name)))
