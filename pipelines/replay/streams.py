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
SELECT aggregate_id, stream_version, event_name, payload, envelope[1] AS message_id, envelope[2] AS actor, arguments
FROM (
    SELECT
        events.aggregate_id,
        events.stream_version,
        events.event_name,
        CASE WHEN events.event_name <> 'model.decision' THEN events.payload END AS payload,
        json_extract_string(events.metadata, ['$.message_id', '$.actor']) AS envelope,
        {arguments} AS arguments
    FROM upcast_events AS events
    SEMI JOIN plan_streams ON plan_streams.aggregate_id = events.aggregate_id
    WHERE
        events.aggregate_id BETWEEN $first AND $last
        AND events.event_name IN (
            'conversation.started', 'context.supplied', 'user.utterance', 'agent.utterance', 'tool.call', 'tool.result',
            'model.decision'
        )
)
ORDER BY aggregate_id, stream_version
"""
_ARGUMENTS = "CASE WHEN events.event_name = 'tool.call' THEN json_extract(events.payload, '$.arguments')::VARCHAR END"
_DECIDED = """
SELECT aggregate_id, first_version, decision, turn, model, tools_sha256, epoch_us(created_at) AS created_us
FROM decisions
SEMI JOIN plan_streams USING (aggregate_id)
WHERE aggregate_id BETWEEN $first AND $last
"""
_STREAMS = f"SELECT aggregate_id, {', '.join(SEGMENTS)} FROM plan_streams WHERE aggregate_id BETWEEN $first AND $last"


class EventRow(NamedTuple):
    """One event that an agent's context is made of.

    `payload` is None for a `model.decision`, of which a context needs the place alone; `arguments` is the JSON text of a tool
    call's arguments as recorded, where it was asked for.
    """

    aggregate_id: str
    stream_version: int
    event_name: str
    payload: str | None
    message_id: str | None = None
    actor: str | None = None
    arguments: str | None = None


class Decided(NamedTuple):
    """One recorded decision, as `lake/decisions` has it.

    `created_us` is when its last event happened, in microseconds since 1970, UTC.
    """

    decision: int
    turn: int
    model: str | None
    tools_sha256: str | None
    created_us: int


_as_row = partial(tuple.__new__, EventRow)
_as_decided = partial(tuple.__new__, Decided)
"""A tuple of the right length under its name, without counting again."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One conversation.

    Attributes:
        aggregate_id: Its id.
        metadata: `source`, `agent`, `vertical`, `channel`, `task` and `variant`.
        rows: Its events in order, those that the agent's context is made of.
        decided: Its decisions, by the `stream_version` at which each begins.
    """

    aggregate_id: str
    metadata: Mapping[str, Any]
    rows: list[EventRow]
    decided: Mapping[int, Decided]


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

    def read(chunk: Chunk) -> tuple[list[Any], ...]:
        params = {"first": chunk.first, "last": chunk.last}
        return tuple(connection.sql(query, params=params).fetchall() for query in (_STREAMS, _DECIDED, events))

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="replay-reader") as reader:
        waiting = iter(chunks)
        ahead = [reader.submit(read, chunk) for chunk in islice(waiting, 1)]
        while ahead:
            about, decisions, rows = ahead.pop().result()
            ahead += [reader.submit(read, chunk) for chunk in islice(waiting, 1)]
            known = {row[0]: dict(zip(SEGMENTS, row[1:], strict=True)) for row in about}
            decided: dict[str, dict[int, Decided]] = {aggregate_id: {} for aggregate_id in known}
            for aggregate_id, version, *rest in decisions:
                decided[aggregate_id][version] = _as_decided(rest)
            for aggregate_id, group in groupby(rows, key=itemgetter(0)):
                yield Stream(aggregate_id, known[aggregate_id], list(map(_as_row, group)), decided[aggregate_id])
