"""What the tests of the export share: events to append, and a month as the store and as the lake hold it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pipelines.lake.lake import Lake
from pipelines.store import NewEvent, Store

_LAKE = """
SELECT
    aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata, epoch_us(created_at), epoch, xid,
    position, hash, salt, digest
FROM events WHERE month = $month ORDER BY 1, 3
"""
_STORE = """
SELECT aggregate_id::text, aggregate_type, stream_version, event_type, event_version, payload::text, metadata::text,
    (extract(epoch FROM created_at) * 1000000)::bigint, epoch, xid::text::bigint, position, hash, salt, digest
FROM refold.events WHERE to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM') = %s ORDER BY 1, 3
"""
_HEADS = """
SELECT aggregate_id, min(stream_version), max(stream_version), count(*), arg_max(hash, stream_version)
FROM events WHERE month = $month GROUP BY 1 ORDER BY 1
"""
_STREAM_MONTHS = """
SELECT aggregate_id, first_version, last_version, event_count, last_hash FROM stream_months WHERE month = $month ORDER BY 1
"""
Rows = list[tuple[Any, ...]]


def say(
    store: Store,
    stream: UUID,
    texts: list[str],
    start: datetime,
    step: timedelta = timedelta(0),
    *,
    make_month: bool = True,
) -> None:
    """Append an utterance a text."""
    events = [
        NewEvent(
            "user.utterance.v1", {"text": text, "n": 3.0632e-05, "big": 2**70}, {"actor": "user"}, start + i * step
        )
        for i, text in enumerate(texts)
    ]
    if make_month:
        store.ensure_months([event.created_at for event in events])
    store.append(stream, "conversation", events, "any")


def both(store: Store, lake: Lake, month: str) -> tuple[Rows, Rows]:
    """Every column of every event of a month, in the store and in the lake: equal lists are EXCEPT both ways, and more."""
    in_store = [tuple(row) for row in store.conn.execute(_STORE, [month]).fetchall()]
    with lake.connect() as connection:
        return in_store, connection.sql(_LAKE, params={"month": month}).fetchall()


def heads(lake: Lake, month: str) -> tuple[Rows, Rows]:
    """The heads of a month's streams: as its events say, and as `stream_months` does."""
    with lake.connect() as connection:
        return tuple(connection.sql(sql, params={"month": month}).fetchall() for sql in (_HEADS, _STREAM_MONTHS))
