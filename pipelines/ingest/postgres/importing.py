"""Import an events table of another PostgreSQL database: exact, resumable, streaming.

The table has the shape of the article on agent event sourcing: id, aggregate_id, aggregate_type, event_type,
event_version, payload, created_at. Rows are read stream by stream in the order of `id`, in one snapshot, and compared
with what the store has of them: what is there is passed over, what differs is an error, what is new is appended, a
bounded number of rows a transaction. So a killed import is continued by running it again. Payloads travel as text, so
that no number loses a digit. A row that came too late to be put into its stream is set aside and named, each time, and keeps
nothing else back. What the source looks like is `postgres_source`'s, this module knows the store.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from pipelines.errors import BadInputError
from pipelines.ingest.clock import Days
from pipelines.ingest.event_types import registry_of
from pipelines.ingest.postgres.source import Row, Source, SourceType, connect_source
from pipelines.ingest.postgres.types import known_types, type_name
from pipelines.store import InvalidPayload, MonthSealed, Registry, Store
from pipelines.store.sqlstate import typed_errors

NAMED = 1_000
"""Rows set aside that are named; the others are counted."""
CHUNK_ROWS = 1_000
CHUNK_BYTES = 4_000_000
"""Rows and bytes of payload of one transaction; a single longer row is one of its own."""
_FIRST_PAGE = 100
"""Stored events read at first; then as many as their size allows."""
_HEADS = "SELECT s.aggregate_id, s.stream_version, s.is_erased FROM refold.streams AS s WHERE s.aggregate_id = ANY(%s)"
# What an earlier run appended, as the source would say it; `source_type` marks what this importer wrote. Erased events say nothing.
_STORED = """
SELECT octet_length(e.digest) <> 0, e.stream_version, (e.metadata ->> 'source_ordinal')::bigint, e.metadata ->> 'source', e.aggregate_type,
    e.metadata ->> 'source_type', e.payload::text,
    coalesce((e.metadata ->> 'occurred_at')::timestamptz, e.created_at)::text
FROM refold.events AS e
WHERE e.aggregate_id = %s AND e.stream_version > %s AND (e.metadata ? 'source_type' OR octet_length(e.digest) <> 0)
ORDER BY e.stream_version
LIMIT %s
"""
_APPEND = "SELECT refold.append_events(%s::uuid, %s, %s, %s::text[], %s::jsonb[], %s::jsonb[], %s::timestamptz[])"
_UNSEAL = "open the month again with `refold unseal MONTH --reason …` and import again"
_ACTORS = {"user": "user", "agent": "agent", "model": "agent", "tool": "agent"}
"""Who acts, by the first word of the event type; a tool's result is the service's."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that was not imported; every run names it until it can be or is gone.

    Attributes:
        aggregate_id: Its stream.
        row: Its `id`.
        reason: Why.
        remedy: What to do.
    """

    aggregate_id: UUID
    row: int
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class PostgresImport:
    """What an import came to.

    Attributes:
        source: Name of the source in the store.
        rows: Rows of the table.
        streams: Streams in which rows were appended now.
        events: Events appended now.
        already_present: Rows that the store had from an earlier run, unchanged.
        set_aside: Rows that came too late for their streams; the first `NAMED` are listed.
        set_aside_count: All of them.
        erased: Rows whose events were erased, or stand where erased events were; they stay out.
        gone: Events of an earlier run whose row is gone, in streams of which the table still has rows; they stay.
        registered: Event types registered now.
        months: UTC months `YYYY-MM` of the table's rows, ascending.
        seconds: Wall time.
    """

    source: str
    rows: int
    streams: int
    events: int
    already_present: int
    set_aside: tuple[SetAside, ...]
    set_aside_count: int
    erased: int
    gone: int
    registered: tuple[str, ...]
    months: tuple[str, ...]
    seconds: float


def import_postgres(
    store: Store,
    dsn: str,
    table: str,
    *,
    source: str | None = None,
    register: bool = False,
    days: Days | None = None,
    progress: Callable[[int], None] | None = None,
) -> PostgresImport:
    """Import an events table; run again, it appends what is new and nothing else.

    Streams keep their `aggregate_id`. An `event_type` without `.vN` gets `.v<event_version>`. The row's `id` is
    `metadata.source_ordinal`.

    Args:
        store: Where to.
        dsn: The source's connection string; it is never printed.
        table: Its table, `name` or `schema.name`, each as it is or in double quotes.
        source: Name of the source in the store; `postgres/<schema>.<table>` by default.
        register: Register event types that the store does not know with a schema that takes any object.
        days: A table with `created_at` outside is refused; None is 2000 to a year from now.
        progress: Called with the number of rows read so far.

    Raises:
        BadInputError: The source is not reachable or has another shape, has rows that cannot be stored or event types
            that are not registered, or a row that was imported has changed; the message names them.
        StoreError: The store cannot take the events now; run it again.
    """
    begin = time.monotonic()
    with closing(connect_source(dsn)) as conn:
        origin = Source(conn, table)
        source = source or f"postgres/{origin.full_name}"
        origin.check_rows(days or Days.given(None, None, datetime.now(UTC)))
        counts = origin.types()
        types = {each: type_name(each) for each in counts}
        registered = known_types(store, types, counts, register=register, table=table)
        months = origin.months()
        store.ensure_months(months.values())
        work = _Import(store, source, table, types, registry_of(store, set(types.values())))
        for chunk in _chunks(origin.rows()):
            work.add(chunk)
            if progress is not None:
                progress(work.rows)
        work.end()
    return PostgresImport(
        source=source,
        rows=work.rows,
        streams=work.streams,
        events=work.events,
        already_present=work.rows - work.events - work.set_aside_count - work.erased,
        set_aside=tuple(work.set_aside),
        set_aside_count=work.set_aside_count,
        erased=work.erased,
        gone=work.gone,
        registered=registered,
        months=tuple(months),
        seconds=time.monotonic() - begin,
    )


@dataclass(slots=True)
class _Stored:
    """An event that an earlier run appended, as the source's row would say it, and how many erased ones stand right before it.

    The erased ones at a stream's end stand before one that no row reaches, without content.
    """

    ordinal: float
    content: tuple[Any, ...] | None
    erased: int


@dataclass(slots=True)
class _Stream:
    """The stream being read: where its head is, and what of it the store has from this source."""

    aggregate_id: UUID
    aggregate_type: str
    head: int
    is_erased: bool
    stored: Iterator[_Stored]
    waiting: _Stored | None
    last_id: int | None = None
    has_grown: bool = False
    sealed: str | None = None


@dataclass(slots=True)
class _Import:
    """Compares and appends chunks; rows come stream by stream, each in the order of `id`."""

    store: Store
    source: str
    table: str
    types: dict[SourceType, str]
    registry: Registry
    rows: int = 0
    streams: int = 0
    events: int = 0
    erased: int = 0
    gone: int = 0
    set_aside: list[SetAside] = field(default_factory=list)
    set_aside_count: int = 0
    _stream: _Stream | None = field(default=None)

    def add(self, chunk: Sequence[Row]) -> None:
        """Pass over what is there, append what is new, all of the chunk or nothing."""
        with typed_errors():
            ids = list({row.aggregate_id for row in chunk})
            heads = {row[0]: row[1:] for row in self.store.conn.execute(_HEADS, [ids]).fetchall()}
        new: list[tuple[_Stream, list[Row]]] = []
        for aggregate_id, rows in groupby(chunk, key=lambda row: row.aggregate_id):
            same_stream = list(rows)
            stream = self._stream
            if stream is None or stream.aggregate_id != aggregate_id:
                self.end()
                head, is_erased = heads.get(aggregate_id, (0, False))
                stored = self._stored(aggregate_id) if head else iter(())
                kind = same_stream[0].aggregate_type
                stream = self._stream = _Stream(aggregate_id, kind, head, is_erased, stored, next(stored, None))
            fresh = [row for row in same_stream if not self._is_there(stream, row)]
            if fresh and stream.sealed is not None:
                self._is_taken(stream, fresh)
            elif fresh:
                new.append((stream, fresh))
        self._append(new)
        self.rows += len(chunk)

    def end(self) -> None:
        """The rest of the stream that was read is in the store and not in the table."""
        if self._stream is not None and self._stream.waiting is not None:
            left = (self._stream.waiting, *self._stream.stored)
            self.gone += sum(each.content is not None for each in left)
        self._stream = None

    def _is_there(self, stream: _Stream, row: Row) -> bool:
        """Whether the store has this row; rows before it that it has and the table has not are counted as gone."""
        if row.aggregate_type != stream.aggregate_type or row.id == stream.last_id:
            wrong = f"the id {row.id} twice" if row.id == stream.last_id else "more than one aggregate_type"
            raise BadInputError(
                f"row {row.id} of {self.table}: its stream {row.aggregate_id} has {wrong}; correct the rows"
            )
        stream.last_id = row.id
        if stream.is_erased:
            self.erased += 1
            return True
        while stream.waiting is not None and stream.waiting.ordinal < row.id:
            self.gone += 1
            stream.waiting = next(stream.stored, None)
        if stream.waiting is None:
            return False
        if stream.waiting.ordinal > row.id:
            if stream.waiting.erased:
                stream.waiting.erased -= 1
                self.erased += 1
                return True
            if stream.waiting.content is None:
                return False
            self._set_aside(
                row,
                f"it appeared after row {stream.waiting.ordinal} of its stream was imported, and a stream keeps its order",
                "give the row a new id, behind the last of its stream, or append what it says as an event of now with "
                "metadata.occurred_at and delete the row",
            )
            return True
        if stream.waiting.content is not None and stream.waiting.content != row.content:
            names = ("aggregate_type", "event_type and event_version", "payload", "created_at")
            changed = [n for n, a, b in zip(names, stream.waiting.content, row.content, strict=True) if a != b]
            raise BadInputError(
                f"row {row.id} of {self.table} has changed since it was imported (stream {row.aggregate_id}: "
                f"{', '.join(changed)}); imported events never change: restore the row"
            )
        stream.waiting = next(stream.stored, None)
        return True

    def _set_aside(self, row: Row, reason: str, remedy: str) -> None:
        self.set_aside_count += 1
        if len(self.set_aside) < NAMED:
            self.set_aside.append(SetAside(row.aggregate_id, row.id, reason, remedy))

    def _stored(self, aggregate_id: UUID) -> Iterator[_Stored]:
        """What the store has of a stream from this source, by version; in pages."""
        version, size, erased = 0, _FIRST_PAGE, 0
        while True:
            with typed_errors():
                page = self.store.conn.execute(_STORED, [aggregate_id, version, size]).fetchall()
            for is_erased, stream_version, ordinal, source, *content in page:
                version = stream_version
                if is_erased:
                    erased += 1
                    continue
                if source != self.source:
                    raise BadInputError(
                        f"stream {aggregate_id} was imported from source {source!r}; give --source {source!r}, or it "
                        "would be imported twice"
                    )
                yield _Stored(ordinal, tuple(content), erased)
                erased = 0
            if len(page) < size:
                break
            held = sum(len(row[6]) for row in page)
            size = max(1, min(2 * size, CHUNK_ROWS, size * CHUNK_BYTES // max(held, 1)))
        if erased:
            yield _Stored(math.inf, None, erased)

    def _append(self, new: list[tuple[_Stream, list[Row]]]) -> None:
        if not new:
            return
        for _, rows in new:
            for row in rows:
                self._validate(row)
        try:
            self._send(new)
        except MonthSealed:
            new = [(stream, rows) for stream, rows in new if self._is_taken(stream, rows)]
        except BadInputError as error:
            raise self._name_row(new, error) from error
        for stream, rows in new:
            stream.head += len(rows)
            self.streams += not stream.has_grown
            stream.has_grown = True
            self.events += len(rows)

    def _send(self, new: list[tuple[_Stream, list[Row]]]) -> None:
        with typed_errors(), self.store.conn.transaction(), self.store.conn.pipeline():
            for stream, rows in new:
                self.store.conn.execute(_APPEND, self._arguments(str(stream.head), rows), prepare=True)

    def _is_taken(self, stream: _Stream, rows: list[Row]) -> bool:
        """Append the rows of one stream, or set them and the rest of it aside, since their month is sealed."""
        try:
            if stream.sealed is None:
                self._send([(stream, rows)])
                return True
        except MonthSealed as error:
            stream.sealed = str(error)
        for row in rows:
            self._set_aside(
                row, f"it, or one before it of its stream, came after its month was closed: {stream.sealed}", _UNSEAL
            )
        return False

    def _validate(self, row: Row) -> None:
        """Hold the payload to its type's schema; a number that a double cannot hold is only ever compared here."""
        name = self.types[row.type]
        if self.registry.types[name].schema == {"type": "object"}:
            return  # `check_rows` has seen that it is one
        try:
            self.registry.validate(name, json.loads(row.payload, parse_float=_finite, parse_int=_short))
        except InvalidPayload as error:
            raise BadInputError(f"row {row.id} of {self.table}: {error}") from error

    def _arguments(self, expected: str, rows: list[Row]) -> list[Any]:
        first = rows[0]
        names = [self.types[row.type] for row in rows]
        return [
            first.aggregate_id,
            first.aggregate_type,
            expected,
            _array(names),
            _array(row.payload for row in rows),
            _array(self._metadata(row, name) for row, name in zip(rows, names, strict=True)),
            _array(row.created_at for row in rows),
        ]

    def _metadata(self, row: Row, name: str) -> str:
        actor = "service" if name.startswith("tool.result.") else _ACTORS.get(name.split(".", 1)[0], "system")
        envelope = {
            "actor": actor,
            "source": self.source,
            "source_id": str(row.aggregate_id),
            "source_ordinal": row.id,
            "source_type": row.source_type,
            "time_source": "message",
        }
        return json.dumps(envelope)

    def _name_row(self, new: list[tuple[_Stream, list[Row]]], error: BadInputError) -> BadInputError:
        """The error with the row that it is about: each is tried by itself and undone."""
        for stream, rows in new:
            for row in rows:
                try:
                    with typed_errors(), self.store.conn.transaction(force_rollback=True):
                        self.store.conn.execute(_APPEND, self._arguments("any", [row]))
                except BadInputError as found:
                    return BadInputError(f"row {row.id} of {self.table} (stream {stream.aggregate_id}): {found}")
        return error


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Runs of rows of bounded number and bytes."""
    chunk: list[Row] = []
    held = 0
    for row in rows:
        if chunk and (len(chunk) == CHUNK_ROWS or held + len(row.payload) > CHUNK_BYTES):
            yield chunk
            chunk, held = [], 0
        chunk.append(row)
        held += len(row.payload)
    if chunk:
        yield chunk


def _array(items: Iterable[str]) -> str:
    """PostgreSQL array literal of texts; the driver's own escapes character by character, at half the speed of all of this."""
    return "{" + ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in items) + "}"


def _finite(literal: str) -> float:
    number = float(literal)
    return number if abs(number) != float("inf") else 0.0


def _short(literal: str) -> int:
    return int(literal[:4000])
