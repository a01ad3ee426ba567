"""The events that redact: one for each thing that is hidden, appended to the stream that it stands in.

A stream is looked at again right before its events are appended, and what is hidden already is not hidden twice: killed anywhere and run
again, it ends the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any
from uuid import UUID

from pipelines.errors import BadInputError
from pipelines.redaction.payload import Hit
from pipelines.redaction.selection import Event, Scope, Wanted, scan
from pipelines.redaction.value import Value, can_be_found
from pipelines.store import NewEvent, Store

_TYPE = "redaction.applied.v1"
_METHOD = "mask"
_MOST = 500
"""Events that are appended together."""


def append_redactions(store: Store, stream: UUID | str, wanted: Wanted, reason: str) -> int:
    """Hide what is looked for in one stream; how many redactions that took.

    Raises:
        MonthSealed: This month is closed to writes.
        StoreReadOnly: Nothing can be appended here.
    """
    streams = (UUID(str(stream)),)
    events = [
        (event.kind, new) for event in scan(store, Scope(streams=streams), wanted) for new in _new_events(event, reason)
    ]
    return _append(store, streams[0], events)


def append_redaction(store: Store, event: Event, reason: str) -> int:
    """Hide what was found in one event; how many redactions that took."""
    return _append(store, UUID(event.stream), [(event.kind, new) for new in _new_events(event, reason)])


def refuse_telling(reason: str, hits: Iterable[Hit]) -> None:
    """Refuse a reason that contains what is to be hidden.

    Raises:
        BadInputError: It does.
    """
    for hit in hits:
        refuse_value(reason, hit.found)


def refuse_value(reason: str, text: str) -> None:
    """Refuse a reason that contains a text.

    Raises:
        BadInputError: It does.
    """
    if can_be_found(text) and Value(text).stands_in(reason):
        raise BadInputError(
            "--reason contains what is to be hidden; it stays for good, so say why without it (a ticket number, a paragraph of "
            "law). Nothing was redacted"
        )


def _append(store: Store, stream: UUID, events: Iterable[tuple[str, NewEvent]]) -> int:
    count = 0
    waiting = iter(events)
    while batch := list(islice(waiting, _MOST)):
        store.append(stream, batch[0][0], [event for _, event in batch], "exists")
        count += len(batch)
    return count


def _new_events(event: Event, reason: str) -> Iterator[NewEvent]:
    for hit in event.hits.hits:
        redaction = hit.redaction
        place: dict[str, Any] = {"path": redaction.path}
        if redaction.start is not None:
            place = {"span": {"path": redaction.path, "start": redaction.start, "end": redaction.end}}
        payload = {"target": {"stream_version": event.version}, "method": _METHOD, "reason": reason, **place}
        yield NewEvent(_TYPE, {**payload, "class": hit.kind}, {"actor": "service"})
