"""Appending: one batch, or many batches pipelined in one transaction. The rules are in the SQL function."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import psycopg
from psycopg import pq

from pipelines.store.encode import append_arguments
from pipelines.store.events import AppendManyResult, AppendResult, StreamBatch
from pipelines.store.registry import Registry
from pipelines.store.sqlstate import typed_errors

_APPEND = (
    "SELECT * FROM refold.append_events(%s::uuid, %s, %s, %s::text[], %s::jsonb[], %s::jsonb[], %s::timestamptz[])"
)
PIPELINE_DEPTH = 64
"""Batches sent before their answers are read: enough to hide the round trip, few enough to bound memory."""


def append(conn: psycopg.Connection, batch: StreamBatch, registry: Registry | None) -> AppendResult:
    """Append `batch` in the current transaction, or in one of its own; with `registry`, payloads are validated first."""
    _validate(batch, registry)
    arguments = append_arguments(batch)
    with typed_errors():
        row = conn.execute(_APPEND, arguments, prepare=True).fetchone()
    assert row is not None
    return AppendResult(*row)


def append_many(
    conn: psycopg.Connection, batches: Iterable[StreamBatch], registry: Registry | None
) -> AppendManyResult:
    """Append all of `batches` in one transaction (a savepoint inside another one), or none of them."""
    streams = events = duplicates = 0
    waiting: deque[tuple[psycopg.Cursor, int]] = deque()

    def settle(leave: int) -> None:
        nonlocal events, duplicates
        while len(waiting) > leave:
            cursor, size = waiting.popleft()
            row = cursor.fetchone()
            assert row is not None
            if row[-1]:
                duplicates += 1
            else:
                events += size

    with typed_errors(), conn.transaction():
        with conn.pipeline():
            for batch in batches:
                _validate(batch, registry)
                cursor = conn.cursor()
                cursor.execute(_APPEND, append_arguments(batch), prepare=True)
                waiting.append((cursor, len(batch.events)))
                streams += 1
                if len(waiting) >= 2 * PIPELINE_DEPTH:
                    settle(PIPELINE_DEPTH)
            settle(0)
        assert conn.info.transaction_status == pq.TransactionStatus.INTRANS
    return AppendManyResult(streams=streams, events=events, duplicate_streams=duplicates)


def _validate(batch: StreamBatch, registry: Registry | None) -> None:
    if registry is not None:
        for event in batch.events:
            registry.validate(event.event_type, event.payload)
