"""The store for asyncio: append and read one stream, with the same rules, results and errors as `Store`.

Whatever else a program needs (migrations, months, following the log) is `Store`'s, in a thread. One `AsyncStore` is one
connection in autocommit mode, which tasks may share: calls queue, so that no append can end up inside the transaction
of another task's `append_many`, and be undone with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Self
from uuid import UUID

import psycopg

from pipelines.settings import Settings
from pipelines.store import append as appending
from pipelines.store import read
from pipelines.store.connect import Store, connect_async
from pipelines.store.embedded import EmbeddedServer
from pipelines.store.encode import prepare_connection
from pipelines.store.events import AppendManyResult, AppendResult, Expected, NewEvent, StoredEvent, StreamBatch
from pipelines.store.registry import Registry, read_types_async


class AsyncStore:
    """An open event store for the tasks of one event loop.

    Attributes:
        conn: The connection, in autocommit mode, with the settings of `session`.
        dsn: How to connect again; may hold a password, so it is for programs, not for logs.
    """

    def __init__(self, conn: psycopg.AsyncConnection, dsn: str, registry: Registry | None = None) -> None:
        prepare_connection(conn)
        self.conn = conn
        self.dsn = dsn
        self.registry = registry or Registry.shipped()
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, *, migrate: bool = True) -> AsyncIterator[Self]:
        """The store of `settings`, opened, migrated and checked as by `Store.open`, which also names the errors."""
        async with _held(settings):
            dsn = await asyncio.to_thread(_ready, settings, migrate)
            conn = await connect_async(dsn)
            async with conn:
                yield cls(conn, dsn)

    async def append(
        self,
        aggregate_id: UUID,
        aggregate_type: str,
        events: Sequence[NewEvent],
        expected_version: Expected,
        *,
        validate: bool = True,
    ) -> AppendResult:
        """Append `events` to one stream, all or none, durable on return; retries and errors as in `Store.append`.

        After a cancellation, as after `StoreUnavailable`, whether the batch was stored is unknown: send it again.
        """
        batch = StreamBatch(aggregate_id, aggregate_type, events, expected_version)
        async with self._turn:
            if validate and (unknown := self.registry.missing(event.event_type for event in events)):
                self.registry = self.registry.extended(await read_types_async(self.conn, unknown))
            return await appending.append_async(self.conn, batch, self.registry if validate else None)

    async def append_many(self, batches: Iterable[StreamBatch], *, validate: bool = False) -> AppendManyResult:
        """Append many batches, pipelined, all or none of them; as `Store.append_many`.

        `batches` is read as it is sent; it must not itself wait for this store.
        """
        async with self._turn:
            if validate:
                self.registry = self.registry.extended(await read_types_async(self.conn))
            return await appending.append_many_async(self.conn, batches, self.registry if validate else None)

    async def read_stream(self, aggregate_id: UUID, from_version: int = 1) -> AsyncIterator[StoredEvent]:
        """Events of one stream from `from_version` on, by version; in pages, so any length fits in memory."""
        version: int | None = from_version
        while version is not None:
            async with self._turn:
                events = await read.read_page_async(self.conn, aggregate_id, version)
            for event in events:
                yield event
            version = read.next_version(events)


@asynccontextmanager
async def _held(settings: Settings) -> AsyncIterator[None]:
    """Hold the embedded server, when it is the store's; it is let go also when its start is cancelled half-way."""
    if settings.dsn is not None:
        yield
        return
    server = EmbeddedServer(settings.home)
    acquiring = asyncio.ensure_future(asyncio.to_thread(server.acquire))
    try:
        await asyncio.shield(acquiring)
        yield
    finally:
        await asyncio.wait([acquiring])  # a thread cannot be cancelled
        await asyncio.to_thread(server.release)


def _ready(settings: Settings, migrate: bool) -> str:
    """The DSN of the store of `settings` once it is ready for appends."""
    with Store.open(settings, migrate=migrate) as store:
        return store.dsn
