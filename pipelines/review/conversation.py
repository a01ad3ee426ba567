"""Read a conversation as the agent saw it: its messages before a decision, or all of them, redactions applied.

Built by the same fold that rebuilds requests for a replay, from the readable events of one stream. Bounded: long
conversations keep their beginning and what came last, long messages their beginning, and both say what is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.lake.datasets import EVENTS
from pipelines.log.context import Context
from pipelines.log.readable import create_readable_events

FIRST = 4
"""Messages kept from the beginning: the system message and how it started."""
LAST = 56
"""Messages kept from the end."""
CHARACTERS = 4_000
"""Characters kept of one message."""

# A later redaction hides earlier messages too, so redactions are read wherever they are.
_EVENTS = f"""
SELECT {", ".join(f"events.{name}" for name in EVENTS.column_names)}
FROM events
INNER JOIN (SELECT stream, max(stop) AS stop FROM conversations_asked GROUP BY stream) AS asked
    ON events.aggregate_id = asked.stream
WHERE events.stream_version < asked.stop OR events.event_type LIKE 'redaction.applied.v%'
"""
_READABLE = """
SELECT asked.place, readable.event_type, readable.payload, readable.metadata, readable.is_erased
FROM conversations_asked AS asked
INNER JOIN upcast_events AS readable ON asked.stream = readable.aggregate_id AND readable.stream_version < asked.stop
ORDER BY asked.place, readable.stream_version
"""
_SIZE = "SELECT sum(event_count)::BIGINT FROM stream_months WHERE list_contains($streams, aggregate_id)"
_FIELDS: list[pa.Field[Any]] = [
    pa.field("place", pa.int64()),
    pa.field("stream", pa.string()),
    pa.field("stop", pa.int32()),
]
_TOGETHER = 2_000
"""Events of conversations that are read at once; with more, each is read by itself, however many there are."""
_END = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        role: system, user, assistant or tool.
        text: The beginning of its text; "" when there is none.
        left_out: Characters of the text that are not in `text`.
        calls: Tool calls: (name, beginning of the arguments as JSON text).
    """

    role: str
    text: str
    left_out: int
    calls: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order.

    Attributes:
        first: The first messages.
        left_out: Messages between `first` and `last`.
        last: The last messages.
    """

    first: tuple[Message, ...]
    left_out: int
    last: tuple[Message, ...]

    @property
    def count(self) -> int:
        """Number of messages, those left out included."""
        return len(self.first) + self.left_out + len(self.last)


def load_conversations(
    connection: duckdb.DuckDBPyConnection, asked: Sequence[tuple[str, int | None]]
) -> list[Conversation]:
    """Read the messages of streams.

    Args:
        connection: Has the relation `events`.
        asked: Ids of conversations, each with the stream version before which events are read; None for all.

    Returns:
        One conversation for each, in their order.
    """
    rows = [
        {"place": place, "stream": stream, "stop": _END if stop is None else stop}
        for place, (stream, stop) in enumerate(asked)
    ]
    if not rows:
        return []
    streams = sorted({stream for stream, _ in asked})
    ((events,),) = connection.execute(_SIZE, {"streams": streams}).fetchall()
    together = [streams] if (events or 0) <= _TOGETHER else [[stream] for stream in streams]
    contexts = [Context() for _ in asked]
    for some in together:
        for place, event, is_erased in _events(connection, [row for row in rows if row["stream"] in some]):
            if is_erased:
                contexts[place].add_erased(event[0])
            else:
                contexts[place].apply(*event)
    return [_shown(context.messages) for context in contexts]


def _events(
    connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]
) -> Iterator[tuple[int, tuple[str, Any, Any], bool]]:
    """The events of some streams, in order: place; type, payload and metadata; and whether they are erased."""
    given = pa.Table.from_pylist(rows, schema=pa.schema(_FIELDS))
    connection.register("conversations_asked", given)
    events = connection.sql(_EVENTS).to_arrow_table()
    connection.unregister("conversations_asked")
    # A connection of its own: there `events` is these streams alone, so nothing else is read.
    with duckdb.connect() as small:
        small.execute("SET TimeZone = 'UTC'")
        small.register("events", events)
        small.register("conversations_asked", given)
        create_readable_events(small)
        for place, event_type, payload, metadata, is_erased in small.execute(_READABLE).fetchall():
            yield place, (event_type, json.loads(payload), json.loads(metadata)), is_erased


def _shown(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    if len(messages) <= FIRST + LAST:
        return Conversation(tuple(map(_message, messages)), 0, ())
    return Conversation(
        tuple(map(_message, messages[:FIRST])), len(messages) - FIRST - LAST, tuple(map(_message, messages[-LAST:]))
    )


def _message(message: Mapping[str, Any]) -> Message:
    text = plain_text(message.get("content"))
    functions = [call["function"] for call in message.get("tool_calls", ())]
    calls = tuple((function["name"], function["arguments"][:CHARACTERS]) for function in functions)
    return Message(message["role"], text[:CHARACTERS], max(len(text) - CHARACTERS, 0), calls)


def plain_text(content: Any) -> str:
    """The text of a message's content; parts that are not text are JSON text."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return json.dumps(content, ensure_ascii=False)


def _part(part: Any) -> str:
    if isinstance(part, Mapping):
        for name in ("text", "content"):
            if isinstance(part.get(name), str):
                return str(part[name])
    return part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)
