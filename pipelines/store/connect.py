"""The store as callers see it: open it from the settings, append, read, months.

One `Store` is one connection in autocommit mode; make one per thread. `transaction()` groups several appends. What the
methods do is in `append`, `read`, `months` and the SQL functions; this module only joins them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

import psycopg

from pipelines.settings import Settings
from pipelines.store import append as appending
from pipelines.store import months as month_list
from pipelines.store import read
from pipelines.store.embedded import EmbeddedServer
from pipelines.store.encode import prepare_connection
from pipelines.store.errors import (
    NoStore,
    OlderFormat,
    PermissionDenied,
    SchemaOutdated,
    StoreReadOnly,
    StoreUnavailable,
)
from pipelines.store.events import AppendManyResult, AppendResult, Expected, NewEvent, StoredEvent, StreamBatch
from pipelines.store.home_log import Entry, Signed, read_entries, read_home
from pipelines.store.locks import without_writers
from pipelines.store.migrations import migrate as run_migrations
from pipelines.store.migrations import pending
from pipelines.store.months import MonthState, MonthStatus
from pipelines.store.read import Stall, Watermark
from pipelines.store.registry import Registry, read_types
from pipelines.store.session import refuse_shared, session_query
from pipelines.store.sqlstate import typed_errors

CONNECT_SECONDS = 10
_CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "refold",
    "client_encoding": "UTF8",
}


class Store:
    """An open event store.

    Attributes:
        conn: The connection, in autocommit mode, with the settings of `session`.
        dsn: How to connect again; may hold a password, so it is for programs, not for logs.
        registry: What payloads are validated against: the shipped types, and those of the database that were met.
    """

    def __init__(self, conn: psycopg.Connection, dsn: str, registry: Registry | None = None) -> None:
        prepare_connection(conn)
        self.conn = conn
        self.dsn = dsn
        self.registry = registry or Registry.shipped()

    @classmethod
    @contextmanager
    def open(
        cls, settings: Settings, *, migrate: bool = True, any_format: bool = False, must_exist: bool = False
    ) -> Iterator[Self]:
        """The store of `settings`: the database at `settings.dsn`, or the embedded server of the home.

        The embedded server runs until the last user leaves, and its database is migrated when `migrate` is true. A
        database of your own is only ever migrated by `refold db migrate`. With `any_format` a log of an older format is given as it
        is, to be read. With `must_exist` a home without a store gets none.

        Raises:
            NoStore: There is no store, and it must exist.
            StoreUnavailable: No server answers, or the embedded one cannot be started.
            OlderFormat: The log's format is an older one.
            SchemaOutdated: The database needs `refold db migrate`.
        """
        with ExitStack() as stack:
            dsn = settings.dsn or stack.enter_context(_embedded(settings, must_exist=must_exist)).dsn
            store = cls(stack.enter_context(connect(dsn)), dsn)
            try:
                todo = pending(store.conn)
            except OlderFormat:
                if not any_format:
                    raise
                yield store
                return
            if todo:
                if settings.dsn is not None or not migrate:
                    raise SchemaOutdated(
                        f"the database's schema is not up to date ({len(todo)} files of sql/postgres, first "
                        f"{todo[0].name}); run `refold db migrate`"
                    )
                store.migrate()
            elif settings.dsn is None:
                store.ensure_months(_current_months())
            store.check_cluster()
            yield store

    def migrate(self) -> None:
        """Bring the schema, the shipped event types and the months up to now to this version; idempotent."""
        run_migrations(self.conn)
        self.registry.register(self.conn)
        self.ensure_months(_current_months())

    def check_cluster(self) -> bool:
        """Whether appends may go on in this cluster; remembers a yes, so that appends need not look again.

        Readers of a standby, of a restored copy, or with a reader's role are not disturbed: they get false.
        """
        try:
            with typed_errors():
                self.conn.execute("SELECT refold.check_cluster()")
        except (StoreReadOnly, PermissionDenied):
            return False
        return True

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything appended inside is stored together or not at all."""
        with typed_errors(), self.conn.transaction():
            yield

    def append(
        self,
        aggregate_id: UUID,
        aggregate_type: str,
        events: Sequence[NewEvent],
        expected_version: Expected,
        *,
        validate: bool = True,
    ) -> AppendResult:
        """Append `events` to one stream, all or none, durable on return (outside of `transaction()`).

        A batch sent again with the same exact expectation (`no_stream` or a version) answers what it answered the first
        time, with `duplicate` set; so after a lost answer, send it again.

        Raises:
            VersionConflict: The stream is elsewhere.
            UnknownEventType: A type is not registered.
            InvalidPayload: A payload does not fit its schema, or jsonb cannot hold it.
            InvalidEvent: Batch, stream or time cannot be stored.
            PayloadTooLarge: An event is longer than is stored.
            MonthSealed: The month of the event's time is closed.
            StoreReadOnly: Appends are stopped.
            StoreUnavailable: The connection broke; send the batch again.
        """
        batch = StreamBatch(aggregate_id, aggregate_type, events, expected_version)
        if validate and (unknown := self.registry.missing(event.event_type for event in events)):
            self.registry = self.registry.extended(read_types(self.conn, unknown))
        return appending.append(self.conn, batch, self.registry if validate else None)

    def append_many(self, batches: Iterable[StreamBatch], *, validate: bool = False) -> AppendManyResult:
        """Append many batches, pipelined, all or none of them; errors as in `append`.

        `batches` is read as it is sent, so it may be a generator of any length. Months are not made here: call
        `ensure_months` first, or the events wait in the DEFAULT partition.
        """
        if validate:
            self.registry = self.registry.extended(read_types(self.conn))
        return appending.append_many(self.conn, batches, self.registry if validate else None)

    def read_stream(self, aggregate_id: UUID, from_version: int = 1) -> Iterator[StoredEvent]:
        """Events of one stream from `from_version` on, by version; in pages, so any length fits in memory."""
        return read.read_stream(self.conn, aggregate_id, from_version)

    def read_all(self, after: tuple[int, int, int] = (0, 0, 0), limit: int = 1000) -> list[StoredEvent]:
        """The next events after a checkpoint `(epoch, order_xid, position)`, in that order.

        Every stream comes in the order of its versions, whoever wrote it. Never misses and never repeats a committed event: those of transactions that may still be overtaken wait. Go on
        with `events[-1].order`; an empty list means that nothing more is complete now.
        """
        return read.read_all(self.conn, after, limit)

    def watermark(self) -> Watermark:
        """Up to where the log is complete now."""
        return read.watermark(self.conn)

    def stalls(self) -> list[Stall]:
        """Transactions, running or prepared, that followers wait for; the oldest first."""
        return read.stalls(self.conn)

    def new_epoch(self, *, wait_seconds: float = 30.0) -> int:
        """Let appends go on in the cluster that the database came into; answers the new epoch.

        Only when nothing writes to the old cluster any more: two stores with one history cannot be joined again.

        Raises:
            StoreBusy: Writers held streams for `wait_seconds`; the message names their pids and gids.
        """
        with without_writers(self.conn, ["streams"], wait_seconds, "the new epoch has not begun"):
            row = self.conn.execute("SELECT refold.new_epoch()").fetchone()
        assert row is not None
        return int(row[0])

    def guard_problems(self) -> list[str]:
        """What weakens "append-only" in this database, in words; empty when triggers, guard and structure are whole."""
        return read.guard_problems(self.conn)

    def months(self) -> list[MonthStatus]:
        """All months with a partition or with strays, ascending."""
        return month_list.list_months(self.conn)

    def month_state(self, month: str) -> tuple[MonthState, int] | None:
        """State and generation of one month; `stray` when it has events and no partition, None when it has neither."""
        return month_list.month_state(self.conn, month)

    def ensure_months(self, datetimes: Iterable[datetime]) -> list[str]:
        """Make the missing partitions for events at these times (naive is UTC); answer the months made."""
        return month_list.ensure_months(self.conn, datetimes)

    def make_month(self, month: str) -> bool:
        """Make the partition of a month (YYYY-MM) and move its strays into it; whether there was none before."""
        return month_list.make_month(self.conn, month)

    def close_month(self, month: str, *, wait_seconds: float = 30.0) -> int:
        """Close an open month to writes, before its last export; answers its generation.

        Raises:
            StoreBusy: Writers held events of the month for `wait_seconds`; the message names their pids and gids.
            InvalidEvent: The month has no partition, is not open, or has strays.
        """
        return month_list.close_month(self.conn, month, wait_seconds)

    def seal_month(self, month: str, manifest: Signed, files: Signed) -> int:
        """Seal a closing month with the manifest of its export and the list of its files; answers its generation."""
        return month_list.seal_month(self.conn, month, manifest, files)

    def note_files(self, month: str, files: Signed) -> None:
        """Note which files hold a sealed month now."""
        month_list.note_files(self.conn, month, files)

    def home_id(self) -> UUID:
        """What names this log for good."""
        return read_home(self.conn)

    def home_log(self, first: int = 0) -> list[Entry]:
        """What happened to the log as a whole, from entry `first` on, in order."""
        return read_entries(self.conn, first)

    def unseal_month(self, month: str, reason: str) -> int:
        """Open a closing or sealed month again as a new generation, which is answered; earlier manifests stay."""
        return month_list.unseal_month(self.conn, month, reason)


def _embedded(settings: Settings, *, must_exist: bool) -> EmbeddedServer:
    server = EmbeddedServer(settings.home)
    if must_exist and not server.is_made:
        raise NoStore(
            f"there is no store in {settings.home} (REFOLD_HOME); `refold demo` or `refold import` makes one, of simulated "
            "history or of yours"
        )
    return server


def _current_months() -> list[datetime]:
    """This month and the next: events that happen now find their partition, also at the turn of the month."""
    now = datetime.now(UTC)
    return [now, now + timedelta(days=31)]


def connect(dsn: str) -> psycopg.Connection:
    """A connection in autocommit mode, with the settings of `session`.

    Raises:
        StoreUnavailable: No server answers, it is a pooler in transaction mode, or the connection string is none; the
            message never repeats the string.
    """
    with _reaching():
        conn = psycopg.connect(dsn, **_CONNECTION)
        try:
            refuse_shared(conn, dsn)
            conn.execute(session_query().encode())
        except BaseException:
            conn.close()
            raise
    return conn


async def connect_async(dsn: str) -> psycopg.AsyncConnection:
    """The async twin of `connect`; whoever calls it has met the server by `connect`."""
    with _reaching():
        conn = await psycopg.AsyncConnection.connect(dsn, **_CONNECTION)
        await conn.execute(session_query().encode())
    return conn


@contextmanager
def _reaching() -> Iterator[None]:
    """Raise the store's exceptions for what can go wrong while connecting."""
    try:
        yield
    except psycopg.ProgrammingError:
        raise StoreUnavailable(
            "REFOLD_DSN is not a PostgreSQL connection string; write postgresql://user@host:5432/database"
        ) from None
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the store's database does not answer: {str(error).strip()}") from error
