"""What waits to be sent: the events of one call of the recorder, for one stream, as one line of JSON.

A packet's content never changes, so that sending it again is recognised by the store. Where it goes may: another writer
may have moved the stream, or its month may have been sealed. Such a change is kept before it is tried.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pipelines.store.events import NewEvent, StreamBatch


@dataclass(slots=True)
class Packet:
    """Events for one stream, and where they are believed to go.

    Attributes:
        line: The content as a line of JSON.
        expected: The stream's version before them.
        is_late: Their month was sealed: they are appended now and keep their time as `occurred_at`.
        row: Its number in the spill file, None while it is in memory.
        is_refused: The store will never take it.
    """

    line: bytes
    expected: int
    is_late: bool = False
    row: int | None = None
    is_refused: bool = False

    def content(self) -> Content:
        """The packet's content, read from its line."""
        return read_line(self.line)


@dataclass(frozen=True, slots=True)
class Content:
    """What a packet's line says.

    Attributes:
        aggregate_id: The stream.
        aggregate_type: What it is about.
        is_once: The stream holds one fact known by its hash; when it exists, the fact is recorded.
        events: The events.
    """

    aggregate_id: UUID
    aggregate_type: str
    is_once: bool
    events: list[NewEvent]

    @property
    def has_redaction(self) -> bool:
        """Whether an event names another one by its version."""
        return any(event.event_type.startswith("redaction.applied.") for event in self.events)

    def batch(self, expected: int, *, is_late: bool) -> StreamBatch:
        """The batch to append."""
        events = [_now(event) for event in self.events] if is_late else self.events
        return StreamBatch(self.aggregate_id, self.aggregate_type, events, expected)


def write_line(aggregate_id: UUID, aggregate_type: str, events: Sequence[NewEvent], *, is_once: bool = False) -> bytes:
    """A packet's line. Payloads and metadata must be storable."""
    document: dict[str, Any] = {
        "stream": str(aggregate_id),
        "type": aggregate_type,
        "once": is_once,
        "events": [[e.event_type, e.payload, dict(e.metadata), _time_text(e.created_at)] for e in events],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def read_line(line: bytes) -> Content:
    """The content of a packet's line.

    Raises:
        ValueError: It is no packet.
    """
    document = json.loads(line)
    try:
        events = [NewEvent(t, payload, metadata, _time(at)) for t, payload, metadata, at in document["events"]]
        return Content(UUID(document["stream"]), document["type"], document["once"], events)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a packet of a recorder: {error}") from error


def _time_text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _now(event: NewEvent) -> NewEvent:
    """The event as one that happens now and happened then."""
    if event.created_at is None:
        return event
    then = event.created_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return NewEvent(event.event_type, event.payload, {"occurred_at": then, **event.metadata}, None)
