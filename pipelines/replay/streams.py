"""Read the events of a plan's conversations from the lake, stream by stream, as a replay wants them.

Streams are read in chunks of bounded size: each is a range of ids, which the files' sort order turns into few row groups.
Redactions are applied and payloads are at their latest version. What the events mean is `Context`'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
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
    CASE WHEN events.event_name = 'tool.call' THEN json_extract(events.payload, '$.arguments')::VARCHAR END AS arguments,
    decided.decision,
    decided.turn,
    decided.model,
    decided.tools_sha256,
    decided.created_at
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
_STREAMS = f"""
SELECT plan_streams.aggregate_id, {", ".join(f"streams.{name}" for name in SEGMENTS)}
FROM plan_streams
JOIN streams ON streams.aggregate_id = plan_streams.aggregate_id
WHERE plan_streams.aggregate_id BETWEEN $first AND $last
"""


class EventRow(NamedTuple):
    """One event that an agent's context is made of; from `decision` on only where a decision begins."""

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
    created_at: datetime | None = None

    @property
    def metadata(self) -> dict[str, str | None]:
        """What `Context` reads of the envelope."""
        return {"message_id": self.message_id, "actor": self.actor}


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


def read_streams(connection: duckdb.DuckDBPyConnection, chunks: Iterable[Chunk]) -> Iterator[Stream]:
    """The conversations of `plan_streams` in the given ranges, in order; one chunk is in memory at a time.

    Args:
        connection: Has `plan_streams`, `streams` and `upcast_events`.
        chunks: As `list_chunks` cuts them.
    """
    for chunk in chunks:
        params = {"first": chunk.first, "last": chunk.last}
        about = {row[0]: row[1:] for row in connection.sql(_STREAMS, params=params).fetchall()}
        rows = map(EventRow._make, connection.sql(_EVENTS, params=params).fetchall())
        for aggregate_id, events in groupby(rows, key=itemgetter(0)):
            yield Stream(aggregate_id, dict(zip(SEGMENTS, about[aggregate_id], strict=True)), list(events))
