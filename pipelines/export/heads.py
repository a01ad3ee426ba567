"""The heads of a month's streams: compared with the lake's and the store's before anything is committed, then committed.

They were noted while the events were written, so the files need not be read again. All are in DuckDB, which spills.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb
import psycopg
import pyarrow as pa

from pipelines.export.errors import ExportGapError, ExportLossError
from pipelines.export.files import HEADS
from pipelines.export.reading import SnapshotReader
from pipelines.export.snapshot import Snapshot
from pipelines.lake.datasets import STREAM_MONTHS
from pipelines.lake.lake import Commit, Lake
from pipelines.store.events import BESIDE

_PAGE = 10_000
"""Streams that are asked about at a time."""

_NOTED = """
SELECT
    aggregate_id, any_value(aggregate_type) AS aggregate_type, min(first_version) AS first_version,
    max(last_version) AS last_version, sum(event_count)::INTEGER AS event_count, arg_max(last_hash, last_version) AS last_hash,
    sum(erased_events)::INTEGER AS erased_events
FROM ({parts})
GROUP BY aggregate_id
"""
_LAKE = """
SELECT aggregate_id, aggregate_type, first_version, last_version, event_count, last_hash, erased_events FROM stream_months WHERE month = $month
"""
_GAPS = """
SELECT aggregate_id, first_version, last_version, event_count FROM heads
WHERE event_count <> last_version - first_version + 1 ORDER BY aggregate_id LIMIT 1
"""
_LOST = """
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
"""
# A stream whose head has a time of the month ends in the month.
_STORE_HEADS = """
SELECT aggregate_id::text AS aggregate_id, stream_version AS last_version, hash AS last_hash
FROM refold.streams
WHERE {month} AND stream_version > 0
"""
_UNEQUAL = """
SELECT store.aggregate_id, store.last_version, heads.last_version
FROM store_heads AS store LEFT JOIN heads USING (aggregate_id)
WHERE heads.last_version IS DISTINCT FROM store.last_version OR heads.last_hash <> store.last_hash
ORDER BY store.aggregate_id LIMIT 1
"""
_MOVED = """
SELECT count(*) > 0
FROM heads LEFT JOIN (FROM stream_months WHERE month = $month) AS lake USING (aggregate_id)
WHERE
    NOT list_contains($beside, heads.aggregate_type)
    AND (heads.last_version, heads.event_count, heads.last_hash) IS DISTINCT FROM (lake.last_version, lake.event_count, lake.last_hash)
"""
_ENTERED = """
SELECT aggregate_id, first_version - 1 FROM heads
WHERE first_version > 1 AND aggregate_id > $after ORDER BY aggregate_id LIMIT $page
"""
_BEFORE = """
SELECT b.aggregate_id::text, b.hash
FROM unnest(%(ids)s::uuid[], %(versions)s::integer[]) AS e (aggregate_id, stream_version)
JOIN refold.events AS b ON b.aggregate_id = e.aggregate_id AND b.stream_version = e.stream_version AND b.created_at < %(start)s
"""
_STREAM_MONTHS = """
SELECT heads.*, coalesce(before.hash, unhex(repeat('00', 32))) AS prev_hash
FROM heads LEFT JOIN before USING (aggregate_id)
"""
_LINK_FIELDS: list[tuple[str, pa.DataType]] = [("aggregate_id", pa.string()), ("hash", pa.binary())]
_LINKS = pa.schema(_LINK_FIELDS)


def create_heads(
    connection: duckdb.DuckDBPyConnection, month: str, noted: Iterable[pa.RecordBatch], *, adds_to_lake: bool
) -> None:
    """Create the table `heads`: one row a stream of the month, as the month will be.

    Args:
        connection: Has the relation `stream_months`.
        month: YYYY-MM.
        noted: Heads of what was written, batches of `HEADS`.
        adds_to_lake: Whether that is added to what the lake holds of the month.
    """
    connection.register("noted", pa.RecordBatchReader.from_batches(HEADS, noted))
    parts = f"SELECT * FROM noted UNION ALL {_LAKE}" if adds_to_lake else "SELECT * FROM noted"
    params = {"month": month} if adds_to_lake else None
    connection.execute(f"CREATE OR REPLACE TEMP TABLE heads AS {_NOTED.format(parts=parts)}", params)
    connection.unregister("noted")


def has_gap(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether a stream's events are not exactly its versions from first to last."""
    return bool(connection.sql(_GAPS).fetchall())


def has_moved(connection: duckdb.DuckDBPyConnection, month: str) -> bool:
    """Whether `heads` differ from the lake's month in any stream that says what agents did."""
    params = {"month": month, "beside": list(BESIDE)}
    return bool(connection.execute(_MOVED, params).fetchall()[0][0])


def refuse_damage(connection: duckdb.DuckDBPyConnection, reader: SnapshotReader, now: Snapshot) -> None:
    """Compare `heads` with themselves, with the lake's month and with the store's own heads.

    Raises:
        ExportGapError: A stream lacks a version, in its middle or at its end.
        ExportLossError: The lake has streams or versions that are not there.
    """
    gap = connection.sql(_GAPS).fetchall()
    if gap:
        aggregate_id, first, last, count = gap[0]
        found = f"versions {first} to {last} should be {last - first + 1} events, there are {count}"
        raise ExportGapError(now.month, aggregate_id, found)
    _refuse_loss(connection, now.month)
    with reader.query(_STORE_HEADS.format(month=now.where)) as store_heads:
        connection.register("store_heads", store_heads)
        unequal = connection.sql(_UNEQUAL).fetchall()
        connection.unregister("store_heads")
    if unequal:
        aggregate_id, head, last = unequal[0]
        found = "there are no events" if last is None else f"the last event is version {last}, or has another hash"
        raise ExportGapError(now.month, aggregate_id, f"the store's head is at version {head}, but {found}")


def commit_heads(
    connection: duckdb.DuckDBPyConnection,
    store: psycopg.Connection,
    lake: Lake,
    now: Snapshot,
    *,
    number: int,
    provenance: dict[str, Any],
) -> Commit:
    """Commit `heads` as the month of `stream_months`, with the chain link before each."""
    _create_links(connection, store, now)
    with lake.replacing(STREAM_MONTHS, {"month": now.month}, number=number) as writer:
        writer.write_query(connection, _STREAM_MONTHS)
        return writer.commit(input_hash=now.input_hash, provenance=provenance)


def _refuse_loss(connection: duckdb.DuckDBPyConnection, month: str) -> None:
    """Compare the heads with the lake's: same streams or more, same versions or more."""
    lost = connection.sql(_LOST, params={"month": month}).fetchall()
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


def _create_links(connection: duckdb.DuckDBPyConnection, store: psycopg.Connection, now: Snapshot) -> None:
    """Create the table `before`: the hash before the month of every stream that began earlier."""
    connection.execute("CREATE OR REPLACE TEMP TABLE before (aggregate_id VARCHAR, hash BLOB)")
    after = ""
    while entered := connection.sql(_ENTERED, params={"after": after, "page": _PAGE}).fetchall():
        ids, versions = map(list, zip(*entered, strict=True))
        found = store.execute(_BEFORE, {"ids": ids, "versions": versions, "start": now.start}).fetchall()
        hashes = {"aggregate_id": [row[0] for row in found], "hash": [row[1] for row in found]}
        links = pa.Table.from_pydict(hashes, schema=_LINKS)
        connection.register("links", links)
        connection.execute("INSERT INTO before SELECT * FROM links")
        connection.unregister("links")
        after = ids[-1]
