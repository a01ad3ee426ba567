"""A month of the lake against the store: heads and counts always, every column when asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb

from pipelines.audit.findings import MonthAudit, Place
from pipelines.audit.heads import NAMED, compare_heads
from pipelines.audit.reading import read_store
from pipelines.export.snapshot import month_bounds, month_condition
from pipelines.proof.chain import CONTENT, HEADER
from pipelines.proof.parts import COLUMNS
from pipelines.store import Store

# Of each stream: what the month holds, and its head row, which knows of a tail that is gone everywhere else.
_HEADS = """
SELECT
    h.aggregate_id::text AS aggregate_id, h.first_version, h.last_version, h.event_count, e.hash AS last_hash,
    s.stream_version AS head_version
FROM (
    SELECT aggregate_id, min(stream_version) AS first_version, max(stream_version) AS last_version, count(*) AS event_count
    FROM refold.events
    WHERE {condition}
    GROUP BY aggregate_id
) AS h
LEFT JOIN LATERAL (
    SELECT hash FROM refold.events
    WHERE aggregate_id = h.aggregate_id AND stream_version = h.last_version AND {condition}
    LIMIT 1
) AS e ON true
LEFT JOIN refold.streams AS s ON s.aggregate_id = h.aggregate_id
"""
# Streams whose head says that they ended in the month: their last event must be there, whatever was exported.
_ENDS = """
SELECT s.aggregate_id::text, s.stream_version, coalesce(e.stream_version, 0), e.hash IS DISTINCT FROM s.hash
FROM refold.streams AS s
LEFT JOIN LATERAL (
    SELECT stream_version, hash, epoch, order_xid FROM refold.events
    WHERE aggregate_id = s.aggregate_id AND {condition}
    ORDER BY stream_version DESC LIMIT 1
) AS e ON true
WHERE {streams} AND s.stream_version > 0
    AND (e.stream_version, e.hash, e.epoch, e.order_xid) IS DISTINCT FROM (s.stream_version, s.hash, s.epoch, s.order_xid)
ORDER BY s.aggregate_id
LIMIT {limit}
"""
# order_xid is the running maximum of xid along a stream within an epoch; the event before the month's first is looked up.
_ORDERS = """
SELECT o.aggregate_id::text, o.stream_version, count(*) OVER ()
FROM (
    SELECT
        e.aggregate_id, e.stream_version, e.epoch, e.xid, e.order_xid,
        lag(e.stream_version) OVER stream AS prev_version, lag(e.epoch) OVER stream AS prev_epoch,
        lag(e.order_xid) OVER stream AS prev_order
    FROM refold.events AS e WHERE {condition}
    WINDOW stream AS (PARTITION BY e.aggregate_id ORDER BY e.stream_version)
) AS o
LEFT JOIN LATERAL (
    SELECT b.stream_version, b.epoch, b.order_xid FROM refold.events AS b
    WHERE o.prev_version IS NULL AND o.stream_version > 1
        AND b.aggregate_id = o.aggregate_id AND b.stream_version = o.stream_version - 1 AND b.created_at < {start}
    LIMIT 1
) AS b ON o.prev_version IS NULL AND o.stream_version > 1
WHERE CASE
    WHEN o.stream_version > 1 AND coalesce(o.prev_version, b.stream_version, 0) <> o.stream_version - 1 THEN o.order_xid < o.xid
    WHEN coalesce(o.prev_epoch, b.epoch) = o.epoch THEN o.order_xid <> greatest(o.xid, coalesce(o.prev_order, b.order_xid))
    ELSE o.order_xid <> o.xid
END
ORDER BY o.aggregate_id, o.stream_version
LIMIT {limit}
"""
_EVENTS = """
SELECT
    aggregate_id::text AS aggregate_id, aggregate_type, stream_version, event_type, event_version, payload::text AS payload,
    metadata::text AS metadata, created_at, epoch, xid::text::bigint AS xid, position, hash, salt, digest
FROM refold.events
WHERE {condition}
"""
_PRINT = f"""
SELECT
    aggregate_id, stream_version,
    unhex(sha256(encode(concat_ws(chr(10), epoch, xid, position, hex(hash), hex(salt), hex(digest), '')) || {HEADER} || {CONTENT})) AS fingerprint
FROM {{source}}
"""
_DIFFERING = """
SELECT
    coalesce(l.aggregate_id, s.aggregate_id), coalesce(l.stream_version, s.stream_version),
    l.fingerprint IS NULL, s.fingerprint IS NULL, count(*) OVER ()
FROM lake_prints AS l
FULL JOIN store_prints AS s ON l.aggregate_id = s.aggregate_id AND l.stream_version = s.stream_version
WHERE l.fingerprint IS DISTINCT FROM s.fingerprint
ORDER BY 1, 2
LIMIT $limit
"""


class Ended(NamedTuple):
    """A stream's head, the version of the last event that the store has of it in the month, 0 for none, and its hash."""

    aggregate_id: str
    head_version: int
    last_version: int
    is_hash_other: bool


class Misplaced(NamedTuple):
    """An event whose place in the order of followers is not what its stream makes it, and how many there are."""

    aggregate_id: str
    stream_version: int
    among: int


def read_heads(connection: duckdb.DuckDBPyConnection, store: Store, condition: str) -> None:
    """Make the table `store_heads`: one row per stream with events that meet `condition`, as the store has them.

    It is no temporary table, so that a cursor of a connection can make it for the others.
    """
    with read_store(store.dsn, _HEADS.format(condition=condition)) as rows:
        connection.register("read", rows)
        connection.execute("CREATE OR REPLACE TABLE store_heads AS SELECT * FROM read")
        connection.unregister("read")


def audit_heads(audit: MonthAudit, connection: duckdb.DuckDBPyConnection) -> None:
    """Compare each stream's first and last version, count and last hash, both ways: `scanned_heads` and `store_heads`."""
    compare_heads(audit, connection, "store_heads", "the store", "store")
    behind = connection.sql(
        "SELECT aggregate_id, last_version, head_version FROM store_heads "
        f"WHERE head_version IS NULL OR head_version < last_version ORDER BY aggregate_id LIMIT {NAMED}"
    ).fetchall()
    for stream, last, head in behind:
        said = "is missing" if head is None else f"says version {head}"
        audit.find("head_differs", "store", f"its head {said}, its events reach version {last}", stream=stream)


def read_ends(store: Store, month: str) -> list[Ended]:
    """Streams that ended in the month and whose head is not the last of the store's own events; the first of them."""
    condition = month_condition(month)
    query = _ENDS.format(condition=condition, streams=month_condition(month, "s.created_at"), limit=NAMED)
    return [Ended(*row) for row in store.conn.execute(query.encode()).fetchall()]


def read_orders(store: Store, month: str) -> list[Misplaced]:
    """Events of the month whose `order_xid` is not the running maximum of `xid` along their stream; the first of them."""
    start = f"'{month_bounds(month)[0].isoformat()}'"
    query = _ORDERS.format(condition=month_condition(month, "e.created_at"), start=start, limit=NAMED)
    return [Misplaced(*row) for row in store.conn.execute(query.encode()).fetchall()]


def audit_orders(audit: MonthAudit, misplaced: Sequence[Misplaced]) -> None:
    """Say of each event that followers would get out of its stream's order, or have an order that nobody gave it."""
    for each in misplaced:
        detail = "its order_xid is not the largest xid of its stream up to it: followers have it out of order"
        audit.find("order_xid_differs", "store", detail, stream=each.aggregate_id, version=each.stream_version)
    if misplaced and misplaced[0].among > len(misplaced):
        more = misplaced[0].among - len(misplaced)
        audit.not_checked.append(f"{more:,} more events have a wrong order_xid; the first are named")


def audit_ends(audit: MonthAudit, ended: Sequence[Ended]) -> None:
    """Say of each stream that ended in the month what is wrong with its end."""
    for each in ended:
        if each.last_version != each.head_version:
            audit.find(
                "tail_missing",
                "store",
                f"its head says version {each.head_version}, the store's events end at {each.last_version}",
                stream=each.aggregate_id,
                version=each.last_version + 1,
            )
        else:
            what = "another hash" if each.is_hash_other else "another epoch or order_xid"
            audit.find(
                "head_differs",
                "store",
                f"its head has {what} than its last event",
                stream=each.aggregate_id,
                version=each.head_version,
            )


def audit_deep(
    audit: MonthAudit,
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    condition: str,
    files: Sequence[str],
) -> None:
    """Compare every column of every event, both ways, by SHA-256 of each side's row; differing rows are read again.

    Args:
        audit: Where findings go.
        connection: Any; the fingerprints spill to where it spills.
        store: The store.
        condition: Its events of the month that the lake must hold.
        files: The month's files, all readable; at least one.
    """
    with read_store(store.dsn, _EVENTS.format(condition=condition)) as rows:
        connection.register("read", rows)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE store_prints AS {_PRINT.format(source='read')}")
        connection.unregister("read")
    lake = _PRINT.format(source="read_parquet($files, hive_partitioning = false)")
    connection.sql(f"CREATE OR REPLACE TEMP TABLE lake_prints AS {lake}", params={"files": list(files)})
    rows_differing = connection.sql(_DIFFERING, params={"limit": NAMED}).fetchall()
    for stream, version, lake_lacks, store_lacks, _ in rows_differing:
        if lake_lacks or store_lacks:
            place: Place = "lake" if lake_lacks else "store"
            other = "store" if lake_lacks else "lake"
            audit.find("events_missing", place, f"only the {other} has it", stream=stream, version=version)
        else:
            columns = _columns_differing(connection, store, condition, files, stream, version)
            audit.find("event_differs", "store", f"lake and store differ in {columns}", stream=stream, version=version)
    if rows_differing and rows_differing[0][-1] > len(rows_differing):
        more = rows_differing[0][-1] - len(rows_differing)
        audit.not_checked.append(f"{more:,} more events differ between lake and store; the first are named")
    connection.execute("DROP TABLE lake_prints")
    connection.execute("DROP TABLE store_prints")


def _columns_differing(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    condition: str,
    files: Sequence[str],
    stream: str,
    version: int,
) -> str:
    """Names of the columns in which one event differs; never what they hold."""
    # Both sides have it, so the stream is a UUID as the store writes it.
    one = f"{condition} AND aggregate_id = '{stream}' AND stream_version = {int(version)}"
    with read_store(store.dsn, _EVENTS.format(condition=one)) as rows:
        in_store: dict[str, Any] = rows.read_all().to_pylist()[0]
    relation = connection.sql(
        f"SELECT {', '.join(COLUMNS)} FROM read_parquet($files, hive_partitioning = false) "
        "WHERE aggregate_id = $stream AND stream_version = $version",
        params={"files": list(files), "stream": stream, "version": version},
    )
    in_lake = dict(zip(relation.columns, relation.fetchall()[0], strict=True))
    return ", ".join(name for name in COLUMNS if in_lake[name] != in_store[name]) or "nothing that is still there"
