"""Read the events of a plan's conversations from the lake, stream by stream, as a replay wants them.

Streams are read in chunks of bounded size: each is a range of ids, which the files' sort order turns into few row groups.
Redactions are applied and payloads are at their latest version. What the events mean is `Context`'s matter.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple

import duckdb

CHUNK_EVENTS = 20_000
"""Events that are in Python at once, at least one stream."""
SEGMENTS = ("source", "agent", "vertical", "channel", "task", "variant")

_CHUNKS = """
SELECT chunk, min(aggregate_id), max(aggregate_id)
FROM (
    SELECT
        plan_streams.aggregate_id,
        (sum(plan_streams.last_version) OVER (ORDER BY plan_streams.aggregate_id ROWS UNBOUNDED PRECEDING)
            - plan_streams.last_version) // $size AS chunk
    FROM plan_streams
)
GROUP BY chunk
ORDER BY chunk
"""
_EVENTS = """
SELECT
    events.aggregate_id,
    events.stream_version,
    events.event_name,
    events.payload,
    json_extract_string(events.metadata, '$.message_id') AS message_id,
    json_extract_string(events.metadata, '$.actor') AS actor,
    {arguments} AS arguments,
    decided.decision,
    decided.turn,
    decided.model,
    decided.tools_sha256,
    epoch_us(decided.created_at) AS created_us
FROM upcast_events AS events
SEMI JOIN plan_streams ON plan_streams.aggregate_id = events.aggregate_id
LEFT JOIN (SELECT * FROM decisions WHERE aggregate_id BETWEEN $first AND $last) AS decided
    ON decided.aggregate_id = events.aggregate_id AND decided.first_version = events.stream_version
WHERE
    events.aggregate_id BETWEEN $first AND $last
    AND events.event_name IN (
        'conversation.started', 'context.supplied', 'user.utterance', 'agent.utterance', 'tool.call', 'tool.result',
        'model.decision'
    )
ORDER BY events.aggregate_id, events.stream_version
"""
_ARGUMENTS = "CASE WHEN events.event_name = 'tool.call' THEN json_extract(events.payload, '$.arguments')::VARCHAR END"
_STREAMS = f"SELECT aggregate_id, {', '.join(SEGMENTS)} FROM plan_streams WHERE aggregate_id BETWEEN $first AND $last"


class EventRow(NamedTuple):
    """One event that an agent's context is made of; from `decision` on only where a decision begins.

    `arguments` is the JSON text of a tool call's arguments as recorded, where it was asked for; `created_us` is when the
    decision's last event happened, in microseconds since 1970, UTC.
    """

    aggregate_id: str
    stream_version: int
    event_name: str
    payload: str
    message_id: str | None = None
    actor: str | None = None
    arguments: str | None = None
    decision: int | None = None
    turn: int = 0
    model: str | None = None
    tools_sha256: str | None = None
    created_us: int | None = None


_as_row = partial(tuple.__new__, EventRow)
"""A tuple of the right length as an `EventRow`, without counting again."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One conversation.

    Attributes:
        aggregate_id: Its id.
        metadata: `source`, `agent`, `vertical`, `channel`, `task` and `variant`.
        rows: Its events in order, those that the agent's context is made of.
    """

    aggregate_id: str
    metadata: Mapping[str, Any]
    rows: list[EventRow]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A range of stream ids, both ends included."""

    first: str
    last: str


def list_chunks(connection: duckdb.DuckDBPyConnection, size: int = CHUNK_EVENTS) -> list[Chunk]:
    """Ranges of about `size` events that hold all streams of `plan_streams`, in order of the ids."""
    rows = connection.sql(_CHUNKS, params={"size": size}).fetchall()
    return [Chunk(first, last) for _, first, last in rows]


def read_streams(
    connection: duckdb.DuckDBPyConnection, chunks: Iterable[Chunk], *, with_arguments: bool = True
) -> Generator[Stream]:
    """The conversations of `plan_streams` in the given ranges, in order.

    While one chunk is used the next is read by a thread of its own, so two are in memory at a time.

    Args:
        connection: Has `plan_streams` and `upcast_events`; nobody else uses it until the last stream was taken.
        chunks: As `list_chunks` cuts them.
        with_arguments: Whether the recorded text of arguments is read; a context alone does not need it.
    """
    events = _EVENTS.format(arguments=_ARGUMENTS if with_arguments else "NULL::VARCHAR")

    def read(chunk: Chunk) -> tuple[list[Any], list[Any]]:
        params = {"first": chunk.first, "last": chunk.last}
        about = connection.sql(_STREAMS, params=params).fetchall()
        return about, connection.sql(events, params=params).fetchall()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="replay-reader") as reader:
        waiting = iter(chunks)
        ahead = [reader.submit(read, chunk) for chunk in islice(waiting, 1)]
        while ahead:
            about, rows = ahead.pop().result()
            ahead += [reader.submit(read, chunk) for chunk in islice(waiting, 1)]
            known = {row[0]: dict(zip(SEGMENTS, row[1:], strict=True)) for row in about}
            for aggregate_id, group in groupby(rows, key=itemgetter(0)):
                yield Stream(aggregate_id, known[aggregate_id], list(map(_as_row, group)))
