"""Reading: one stream in order, or everything in the one order that loses nothing.

Identity values are handed out before commit, so `position` alone is no order to follow: a transaction that commits late
would be passed over; and a writer that waited for its stream may have an older transaction id than the event it goes on
from. So a follower orders, checkpoints and filters by `(epoch, order_xid, position)`, where `order_xid` is the running
maximum of `xid` along a stream, and stops below the oldest transaction still running. Pages are keyset queries over immutable rows: no cursor or transaction stays open between
them, so a caller may append, stop or take a day while reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg

from pipelines.store.events import StoredEvent
from pipelines.store.sqlstate import typed_errors

_COLUMNS = (
    "epoch, xid::text::bigint AS xid_number, position, aggregate_id, aggregate_type, stream_version, event_type, event_version, "
    "payload, metadata, created_at, hash, order_xid::text::bigint AS order_number, digest"
)
_STREAM = (
    f"SELECT {_COLUMNS} FROM refold.events "
    "WHERE aggregate_id = %s AND stream_version >= %s ORDER BY stream_version LIMIT %s"
)
_ALL = (
    f"SELECT {_COLUMNS} FROM refold.events "
    "WHERE (epoch, order_xid, position) > (%s::integer, %s::text::xid8, %s::bigint) "
    "AND (epoch, order_xid) < ((SELECT s.epoch FROM refold.store AS s), pg_snapshot_xmin(pg_current_snapshot())) "
    "ORDER BY epoch, order_xid, position LIMIT %s"
)
_WATERMARK = (
    "SELECT s.epoch, pg_snapshot_xmin(pg_current_snapshot())::text::bigint, "
    "pg_snapshot_xmax(pg_current_snapshot())::text::bigint FROM refold.store AS s"
)
_GUARD_PROBLEMS = """
SELECT 'DDL is not guarded: event trigger ' || g.name || ' is missing or off'
FROM unnest(ARRAY['refold_guard_ddl_end', 'refold_guard_ddl_start', 'refold_guard_drop', 'refold_guard_rewrite']) AS g (name)
WHERE NOT EXISTS (SELECT FROM pg_event_trigger AS t WHERE t.evtname = g.name AND t.evtenabled = 'A')
UNION ALL
SELECT p.problem FROM refold.guard_problems() AS p
ORDER BY 1
"""
_STALLS = """
SELECT a.pid, null::text, coalesce(a.usename::text, ''), a.datname::text, extract(epoch FROM clock_timestamp() - a.xact_start)::float8, a.backend_xid::text::bigint
FROM pg_stat_activity AS a
WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
UNION ALL
SELECT null, p.gid, p.owner::text, p.database::text, extract(epoch FROM clock_timestamp() - p.prepared)::float8, p.transaction::text::bigint
FROM pg_prepared_xacts AS p
ORDER BY 5 DESC
"""
PAGE_EVENTS = 500
"""Events a page: large enough that the round trip does not count, small enough that long texts fit in memory."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """Up to where the log is complete: no event whose `(epoch, order_xid)` is below can appear any more.

    Attributes:
        epoch: Current epoch; all earlier epochs are complete.
        xid: Oldest transaction still running, or the next one when none is; not itself complete.
        next_xid: The next transaction id; `next_xid - xid` transactions are held back.
    """

    epoch: int
    xid: int
    next_xid: int


@dataclass(frozen=True, slots=True)
class Stall:
    """A transaction that holds followers back, in whatever database of the cluster it runs.

    Attributes:
        pid: Its server process, None for a prepared transaction.
        gid: Name of the prepared transaction, None for a running one.
        role: Who runs it.
        database: Where.
        age_seconds: Since it began, or was prepared; None where this role may not see it.
        xid: Its transaction id, modulo 2^32 as PostgreSQL reports it here.
    """

    pid: int | None
    gid: str | None
    role: str
    database: str
    age_seconds: float | None
    xid: int


def read_stream(
    conn: psycopg.Connection, aggregate_id: UUID, from_version: int = 1, page: int = PAGE_EVENTS
) -> Iterator[StoredEvent]:
    """Events of one stream from `from_version` on, by version."""
    version: int | None = from_version
    while version is not None:
        with typed_errors():
            rows = conn.execute(_STREAM, [aggregate_id, version, page]).fetchall()
        events = [StoredEvent(*row) for row in rows]
        yield from events
        version = next_version(events, page)


async def read_page_async(
    conn: psycopg.AsyncConnection, aggregate_id: UUID, from_version: int, page: int = PAGE_EVENTS
) -> list[StoredEvent]:
    """The next events of one stream from `from_version` on, by version; on an async connection."""
    with typed_errors():
        rows = await (await conn.execute(_STREAM, [aggregate_id, from_version, page])).fetchall()
    return [StoredEvent(*row) for row in rows]


def next_version(events: Sequence[StoredEvent], page: int = PAGE_EVENTS) -> int | None:
    """The version that the page after `events` begins with, None when that was the last page."""
    return events[-1].stream_version + 1 if len(events) == page else None


def read_all(conn: psycopg.Connection, after: tuple[int, int, int], limit: int) -> list[StoredEvent]:
    """The next `limit` events after the checkpoint `(epoch, order_xid, position)`, in that order, complete ones only."""
    epoch, order_xid, position = after
    with typed_errors():
        rows = conn.execute(_ALL, [epoch, str(order_xid), position, limit]).fetchall()
    return [StoredEvent(*row) for row in rows]


def watermark(conn: psycopg.Connection) -> Watermark:
    """Up to where the log is complete now."""
    with typed_errors():
        row = conn.execute(_WATERMARK).fetchone()
    assert row is not None
    return Watermark(*row)


def stalls(conn: psycopg.Connection) -> list[Stall]:
    """Transactions, running or prepared, that followers wait for; the oldest first."""
    with typed_errors():
        return [Stall(*row) for row in conn.execute(_STALLS).fetchall()]


def guard_problems(conn: psycopg.Connection) -> list[str]:
    """What is missing of the guard on DDL and of the events table's structure, in words; empty when all is whole."""
    with typed_errors():
        return [row[0] for row in conn.execute(_GUARD_PROBLEMS).fetchall()]
