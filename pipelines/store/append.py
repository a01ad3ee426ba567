"""Appending: one batch, or many batches pipelined in one transaction; each for a plain and for an async connection.

The rules are in the SQL function. What does not wait for the server is shared by the twins: the statement, its
arguments, which answers to take when, and what they come to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import psycopg
from psycopg import pq

from pipelines.store.encode import Arguments, append_arguments
from pipelines.store.events import AppendManyResult, AppendResult, StreamBatch
from pipelines.store.registry import Registry
from pipelines.store.sqlstate import typed_errors

_APPEND = (
    "SELECT * FROM refold.append_events(%s::uuid, %s, %s, %s::text[], %s::jsonb[], %s::jsonb[], %s::timestamptz[])"
)
PIPELINE_DEPTH = 64
"""Batches sent before their answers are read: enough to hide the round trip, few enough to bound memory."""
_CursorT = TypeVar("_CursorT", psycopg.Cursor, psycopg.AsyncCursor)


def append(conn: psycopg.Connection, batch: StreamBatch, registry: Registry | None) -> AppendResult:
    """Append `batch` in the current transaction, or in one of its own; with `registry`, payloads are validated first."""
    arguments = _arguments(batch, registry)
    with typed_errors():
        row = conn.execute(_APPEND, arguments, prepare=True).fetchone()
    return _answer(row)


async def append_async(conn: psycopg.AsyncConnection, batch: StreamBatch, registry: Registry | None) -> AppendResult:
    """The async twin of `append`."""
    arguments = _arguments(batch, registry)
    with typed_errors():
        row = await (await conn.execute(_APPEND, arguments, prepare=True)).fetchone()
    return _answer(row)


def append_many(
    conn: psycopg.Connection, batches: Iterable[StreamBatch], registry: Registry | None
) -> AppendManyResult:
    """Append all of `batches` in one transaction (a savepoint inside another one), or none of them."""
    sent = _Sent[psycopg.Cursor]()
    with typed_errors(), conn.transaction():
        with conn.pipeline():
            for batch in batches:
                cursor = conn.cursor()
                cursor.execute(_APPEND, _arguments(batch, registry), prepare=True)
                for answered in sent.add(cursor, batch):
                    sent.count(answered.fetchone())
            for answered in sent.take(0):
                sent.count(answered.fetchone())
        _assert_open(conn.info)
    return sent.result()


async def append_many_async(
    conn: psycopg.AsyncConnection, batches: Iterable[StreamBatch], registry: Registry | None
) -> AppendManyResult:
    """The async twin of `append_many`."""
    sent = _Sent[psycopg.AsyncCursor]()
    with typed_errors():
        async with conn.transaction():
            async with conn.pipeline():
                for batch in batches:
                    cursor = conn.cursor()
                    await cursor.execute(_APPEND, _arguments(batch, registry), prepare=True)
                    for answered in sent.add(cursor, batch):
                        sent.count(await answered.fetchone())
                for answered in sent.take(0):
                    sent.count(await answered.fetchone())
            _assert_open(conn.info)
    return sent.result()


class _Sent(Generic[_CursorT]):
    """Batches on their way: whose answers to read now, and what the answers come to. Answers come in order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[_CursorT, int]] = deque()
        self._size = 0
        self._streams = self._events = self._duplicates = 0

    def add(self, cursor: _CursorT, batch: StreamBatch) -> Iterator[_CursorT]:
        """Note that `batch` was sent with `cursor`; the cursors to read before the next one is sent."""
        self._waiting.append((cursor, len(batch.events)))
        self._streams += 1
        is_full = len(self._waiting) >= 2 * PIPELINE_DEPTH
        return self.take(PIPELINE_DEPTH if is_full else len(self._waiting))

    def take(self, leave: int) -> Iterator[_CursorT]:
        """Cursors to read, the oldest first, until `leave` are waiting; give each one's row to `count`."""
        while len(self._waiting) > leave:
            cursor, self._size = self._waiting.popleft()
            yield cursor

    def count(self, row: tuple[Any, ...] | None) -> None:
        """Count the answer of the cursor taken last."""
        if _answer(row).duplicate:
            self._duplicates += 1
        else:
            self._events += self._size

    def result(self) -> AppendManyResult:
        """What all of them came to."""
        return AppendManyResult(streams=self._streams, events=self._events, duplicate_streams=self._duplicates)


def _arguments(batch: StreamBatch, registry: Registry | None) -> Arguments:
    """What the statement takes; with `registry`, payloads are validated first."""
    if registry is not None:
        for event in batch.events:
            registry.validate(event.event_type, event.payload, batch.hidden)
    return append_arguments(batch)


def _answer(row: tuple[Any, ...] | None) -> AppendResult:
    assert row is not None
    return AppendResult(*row)


def _assert_open(info: psycopg.ConnectionInfo) -> None:
    """The pipeline is over and the transaction is not: what is appended commits with it."""
    assert info.transaction_status == pq.TransactionStatus.INTRANS
