"""Write what a store holds as a file of run lines, from which an import makes it again.

One snapshot, one stream after the other: memory is bounded by the longest line, and a stream that takes more than there is is
named and left out. What a line says is `run_line`'s, what JSON text it is, is here: UTF-8 without line separators of any kind
inside of a line, decimals with the digits that were recorded.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import UUID

import psycopg

from pipelines.errors import BadInputError
from pipelines.ingest.faults import json_path
from pipelines.ingest.reading.lines import MAX_LINE_BYTES
from pipelines.ingest.reading.room import Room
from pipelines.ingest.reading.strict_json import MAX_DEPTH, InexactFloat, read_decimal
from pipelines.ingest.run_line import RunLine, run_line
from pipelines.output import open_output
from pipelines.store import Store
from pipelines.store.events import NewEvent
from pipelines.store.sqlstate import typed_errors

BATCH_STREAMS = 256
"""Streams looked up together."""
_STREAMS = """
WITH first AS (
    SELECT
        e.aggregate_id, e.aggregate_type, e.event_type, e.metadata,
        NOT $erased AND e.event_type NOT LIKE 'redaction.applied.v%%' AS is_told
    FROM refold.events AS e
    WHERE e.stream_version = 1 AND e.aggregate_type NOT IN ('access', 'erasure')
), told AS (
    SELECT f.aggregate_id, f.aggregate_type, f.event_type, f.metadata
    FROM first AS f
    WHERE f.is_told
    UNION ALL
    SELECT f.aggregate_id, f.aggregate_type, n.event_type, n.metadata
    FROM first AS f
    LEFT JOIN LATERAL (
        SELECT e.event_type, e.metadata
        FROM refold.events AS e
        WHERE e.aggregate_id = f.aggregate_id AND NOT $erased AND e.event_type NOT LIKE 'redaction.applied.v%%'
        ORDER BY e.stream_version
        LIMIT 1
    ) AS n ON true
    WHERE NOT f.is_told
), placed AS (
    SELECT
        t.aggregate_id, t.aggregate_type, t.metadata ->> 'source' AS source, t.metadata ->> 'source_id' AS source_id,
        t.event_type LIKE ANY (ARRAY['prompt.registered.v%%', 'tools.registered.v%%']) AS is_registration,
        t.metadata ? 'source_record' AS is_imported,
        CASE jsonb_typeof(t.metadata -> 'source_ordinal') WHEN 'number' THEN (t.metadata ->> 'source_ordinal')::numeric END AS place
    FROM told AS t
)
SELECT p.aggregate_id, p.aggregate_type, coalesce(p.is_registration, false)
FROM placed AS p
WHERE %(source)s::text IS NULL OR p.source = %(source)s::text
ORDER BY
    3 DESC, p.source COLLATE "C" NULLS LAST, p.is_imported DESC NULLS LAST, p.place NULLS LAST, p.source_id COLLATE "C" NULLS LAST,
    p.aggregate_id
"""
"""Streams in the order of their lines. Accesses and erasures say what happened to this store's events, and are none. Importing lines
numbers those that were imported anew, so these come first."""
_EVENTS = """
SELECT e.aggregate_id, e.stream_version, e.event_type, e.payload::text, e.metadata::text, e.created_at, $erased
FROM refold.events AS e
WHERE e.aggregate_id = ANY(%(streams)s::uuid[])
ORDER BY array_position(%(streams)s::uuid[], e.aggregate_id), e.stream_version
"""
_HAS_DIGESTS = """
SELECT EXISTS (
    SELECT FROM pg_attribute AS a WHERE a.attrelid = 'refold.events'::regclass AND a.attname = 'digest' AND NOT a.attisdropped
)
"""
"""Whether the log's format knows erased events."""
_SIZED_TOGETHER = 100_000
"""Characters of events after which it is told what they take."""
_SEPARATORS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Characters at which some readers end a line."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A stream that has no line in the file.

    Attributes:
        stream: Its id.
        reason: Why, with the bound that would do where there is one.
    """

    stream: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class LinesWritten:
    """What was written.

    Attributes:
        lines: Lines, one a stream.
        conversations: Those of them that are conversations and calls; the others are rows of people, prompts, lists of tools.
        events: Events that the lines bring back.
        redactions: Redactions applied; they are told on the lines, and are no events there.
        erased: Events whose content is gone; they are on no line.
        left_out: Streams without a line.
        seconds: Wall time.
    """

    lines: int
    conversations: int
    events: int
    redactions: int
    erased: int
    left_out: tuple[LeftOut, ...]
    seconds: float


@dataclass(slots=True)
class _Tally:
    lines: int = 0
    conversations: int = 0
    events: int = 0
    redactions: int = 0
    erased: int = 0


def write_lines(
    store: Store,
    path: Path,
    *,
    source: str | None = None,
    streams: Collection[UUID] | None = None,
    room: Room = Room(sys.maxsize, 0),  # noqa: B008 -- frozen
    is_replacing: bool = False,
    progress: Callable[[int], None] | None = None,
) -> LinesWritten:
    """Write every stream of a store as one run line, redactions applied: the inverse of `import_chat`.

    Prompts and lists of tools come first, then the rest by source, place in the source and id.

    Args:
        store: Where from.
        path: The file, private to this account and there only once it is whole; compressed where its name ends in `.gz`;
            `-` is standard output.
        source: Streams of this source alone.
        streams: These conversations, and the registered prompts and tools, alone; None is everything.
        room: How much memory there is; a stream that takes more is left out. By default there is no bound.
        is_replacing: Whether a file that is there may be replaced.
        progress: Called with the number of lines written so far.

    Raises:
        BadInputError: The file is there already, or cannot be written.
    """
    begin = time.monotonic()
    if not is_replacing:
        refuse_existing(path)
    is_seen = str(path) == "-" and sys.stdout.isatty()
    tally, left_out = _Tally(), []
    with _open_lines(path) as file:
        for each in _lines(store, source, None if streams is None else frozenset(streams), room, tally):
            if isinstance(each, LeftOut):
                left_out.append(each)
                continue
            file.write(_in_ascii(each) if is_seen else each)
            tally.lines += 1
            if progress is not None and tally.lines % BATCH_STREAMS == 0:
                progress(tally.lines)
    return LinesWritten(
        tally.lines,
        tally.conversations,
        tally.events,
        tally.redactions,
        tally.erased,
        tuple(left_out),
        time.monotonic() - begin,
    )


def _in_ascii(line: bytes) -> bytes:
    """The same line for a terminal, which acts on some characters and hides others; JSON escapes them all."""
    return (
        re.sub(r"[^\n -~]", lambda found: json.dumps(found[0])[1:-1], line.decode()).replace("\x7f", "\\u007f").encode()
    )


def refuse_existing(path: Path) -> None:
    """Leave a file that is there to its owner.

    Raises:
        BadInputError: It is there.
    """
    if path.is_file():
        raise BadInputError(f"{path} is there already; name another file, or replace it with --force")


@contextmanager
def _open_lines(path: Path) -> Iterator[BinaryIO]:
    with open_output(path, is_private=True) as stream:
        if path.suffix != ".gz":
            yield stream
            return
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=stream, mtime=0) as packed:
            yield cast("BinaryIO", packed)


@dataclass(frozen=True, slots=True)
class _Stream:
    """One stream to be written."""

    aggregate_id: UUID
    aggregate_type: str


def _lines(
    store: Store, source: str | None, streams: frozenset[UUID] | None, room: Room, tally: _Tally
) -> Iterator[bytes | LeftOut]:
    """Lines, and streams that have none, in one snapshot."""
    conn = store.conn
    with typed_errors(), conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        conn.execute("SET LOCAL cursor_tuple_fraction = 1")  # all of the list is read, not its beginning
        erased = "(e.digest <> '')" if conn.execute(_HAS_DIGESTS).fetchone() == (True,) else "false"
        events = _EVENTS.replace("$erased", erased)
        with conn.cursor(name="refold_lines") as listed:
            listed.execute(_STREAMS.replace("$erased", erased).encode(), {"source": source})
            while batch := listed.fetchmany(BATCH_STREAMS):
                wanted = [
                    _Stream(aggregate_id, kind)
                    for aggregate_id, kind, is_registration in batch
                    if streams is None or is_registration or aggregate_id in streams
                ]
                if wanted:
                    yield from _of_batch(conn, events, wanted, room, tally)


def _of_batch(
    conn: psycopg.Connection, events: str, wanted: Sequence[_Stream], room: Room, tally: _Tally
) -> Iterator[bytes | LeftOut]:
    kinds = {each.aggregate_id: each.aggregate_type for each in wanted}
    held: _Held | None = None
    with conn.cursor() as cursor:
        for aggregate_id, *row in cursor.stream(events.encode(), {"streams": list(kinds)}):
            if held is None or held.aggregate_id != aggregate_id:
                if held is not None:
                    yield from held.line(tally)
                held = _Held(aggregate_id, kinds[aggregate_id], room)
            tally.erased += held.add(*row)
    if held is not None:
        yield from held.line(tally)


class _Held:
    """The stream that is being read."""

    def __init__(self, aggregate_id: UUID, aggregate_type: str, room: Room) -> None:
        self.aggregate_id = aggregate_id
        self._aggregate_type = aggregate_type
        self._room = room
        self._size = room.long_line()
        self._events: dict[int, NewEvent] = {}
        self._unsized: list[str] = []
        self._unsized_length = 0
        self._is_too_large = self._has_literals = False
        self._read = json.JSONDecoder(parse_float=self._decimal).decode

    def add(self, version: int, event_type: str, payload: str, metadata: str, created_at: Any, is_erased: bool) -> bool:
        """Take the next event; whether its content is gone. Once it is too much, nothing is held and all is counted."""
        if is_erased:
            return True
        self._size.add_event()
        self._unsized += (payload, metadata)
        self._unsized_length += len(payload) + len(metadata)
        if self._unsized_length > _SIZED_TOGETHER:
            self._measure()
        if self._is_too_large or self._size.needed > self._room.limit:
            self._is_too_large = True
            self._events.clear()
            return False
        self._events[version] = NewEvent(event_type, self._read(payload), self._read(metadata), created_at)
        return False

    def line(self, tally: _Tally) -> Iterator[bytes | LeftOut]:
        """The stream's line, or why it has none; nothing when nothing of it is left."""
        self._measure()
        if self._is_too_large or self._size.needed > self._room.limit:
            self._events.clear()
            yield LeftOut(self.aggregate_id, self._size.fault("stream", "write"))
            return
        made = run_line(self.aggregate_id, self._aggregate_type, self._events)
        self._events = {}
        if made is None:
            return
        if _is_deep(made.line):
            yield LeftOut(
                self.aggregate_id,
                f"its line would nest values more than {MAX_DEPTH} levels deep, which no import reads",
            )
            return
        text = line_text(made, has_literals=self._has_literals)
        if len(text) > MAX_LINE_BYTES:
            yield LeftOut(
                self.aggregate_id,
                f"its line would have {len(text):,} bytes, more than the {MAX_LINE_BYTES:,} that can be imported",
            )
            return
        tally.conversations += self._aggregate_type in ("conversation", "call")
        tally.events += made.events
        tally.redactions += made.redacted
        yield text

    def _measure(self) -> None:
        self._size.add("".join(self._unsized).encode())
        self._unsized, self._unsized_length = [], 0

    def _decimal(self, literal: str) -> float:
        number = read_decimal(literal)
        self._has_literals |= isinstance(number, InexactFloat)
        return number


def line_text(made: RunLine, *, has_literals: bool) -> bytes:
    """A line as UTF-8 JSON with its newline; decimals have the digits that were recorded, where there are such."""
    literals: list[str] = []
    token = uuid.uuid4().hex
    value = _with_tokens(made.line, [], made.numbers, (token, literals)) if made.numbers or has_literals else made.line
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for separator, escape in _SEPARATORS.items():
        text = text.replace(separator, escape)
    if literals:
        text = re.sub(f'"{token}([0-9]+)"', lambda found: literals[int(found[1])], text)
    return text.encode() + b"\n"


def _with_tokens(value: Any, steps: list[str | int], numbers: dict[str, str], found: tuple[str, list[str]]) -> Any:
    """`value` with a text, which nothing else is, in place of every number that a double does not hold."""
    if isinstance(value, dict):
        return {key: _with_tokens(inner, [*steps, key], numbers, found) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_tokens(inner, [*steps, n], numbers, found) for n, inner in enumerate(value)]
    if type(value) is float or isinstance(value, InexactFloat):
        literal = (
            value.literal if isinstance(value, InexactFloat) else numbers.get(json_path(steps)) if numbers else None
        )
        if literal is not None and float(literal) == value:
            token, literals = found
            literals.append(literal)
            return f"{token}{len(literals) - 1}"
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
