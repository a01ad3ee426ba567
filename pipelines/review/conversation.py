"""Read a conversation as the agent saw it: its messages before a decision, or all of them, redactions applied.

Built by the same fold that rebuilds requests for a replay, from the readable events of one stream. Bounded: long
conversations keep their beginning and what came last, long messages their beginning, and both say what is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from pipelines.folds.context import Context
from pipelines.folds.readable import create_readable_events
from pipelines.lake.datasets import EVENTS

FIRST = 4
"""Messages kept from the beginning: the system message and how it started."""
LAST = 56
"""Messages kept from the end."""
CHARACTERS = 4_000
"""Characters kept of one message."""

_EVENTS = f"""
SELECT {", ".join(EVENTS.column_names)}
FROM events
WHERE aggregate_id = $stream AND stream_version < $stop
"""
# A later redaction hides earlier messages too, so redactions are read wherever they are.
_REDACTIONS = f"""
SELECT {", ".join(EVENTS.column_names)}
FROM events
WHERE aggregate_id = $stream AND stream_version >= $stop AND event_type LIKE 'redaction.applied.v%'
"""
_READABLE = """
SELECT event_type, payload, metadata
FROM upcast_events
WHERE stream_version < $stop
ORDER BY stream_version
"""
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


def load_conversation(
    connection: duckdb.DuckDBPyConnection, stream: str, before_version: int | None = None
) -> Conversation:
    """Read the messages of a stream.

    Args:
        connection: Has the relation `events`.
        stream: The conversation's id.
        before_version: Only events before this stream version; None for all.
    """
    params = {"stream": stream, "stop": _END if before_version is None else before_version}
    events = connection.sql(f"{_EVENTS} UNION ALL {_REDACTIONS}", params=params).to_arrow_table()
    context = Context()
    # A connection of its own: there `events` is this stream alone, so nothing else is read.
    with duckdb.connect() as small:
        small.execute("SET TimeZone = 'UTC'")
        small.register("events", events)
        create_readable_events(small)
        rows = small.sql(_READABLE, params={"stop": params["stop"]}).fetchall()
    for event_type, payload, metadata in rows:
        context.apply(event_type, json.loads(payload), json.loads(metadata))
    messages = context.messages
    if len(messages) <= FIRST + LAST:
        return Conversation(tuple(map(_message, messages)), 0, ())
    return Conversation(
        tuple(map(_message, messages[:FIRST])), len(messages) - FIRST - LAST, tuple(map(_message, messages[-LAST:]))
    )


def _message(message: Mapping[str, Any]) -> Message:
    text = _plain(message.get("content"))
    functions = [call["function"] for call in message.get("tool_calls", ())]
    calls = tuple((function["name"], function["arguments"][:CHARACTERS]) for function in functions)
    return Message(message["role"], text[:CHARACTERS], max(len(text) - CHARACTERS, 0), calls)


def _plain(content: Any) -> str:
    """The text of a message's content; parts that are not text are shown as JSON."""
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
