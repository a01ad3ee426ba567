"""What the store already has of a batch of conversations, and how to say that it has something else.

An imported conversation never changes: met again with the same digest it is passed over; one that has gone on gets the rest
(`growth`); met with anything else it is an error that names both places and the first difference. One of which events were
erased stays as it is, whatever comes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from uuid import UUID

from pipelines.errors import BadInputError
from pipelines.ingest import growth
from pipelines.ingest.canonical import first_difference, same_json
from pipelines.ingest.clock import utc_text
from pipelines.ingest.convert import Conversation
from pipelines.ingest.restore import RecordedEvent, restore
from pipelines.store.connect import Store
from pipelines.store.events import NewEvent, StoredEvent
from pipelines.store.months import month_of
from pipelines.store.sqlstate import typed_errors

# `streams` is one small table: a batch of new conversations never looks into the partitions of `events`.
_HEADS = "SELECT s.aggregate_id FROM refold.streams AS s WHERE s.aggregate_id = ANY(%s) AND s.stream_version > 0"
_FIRST_EVENTS = """
SELECT e.aggregate_id, e.metadata ->> 'source_sha256', e.metadata ->> 'source_place',
    EXISTS (SELECT FROM refold.erasures AS x WHERE x.aggregate_id = e.aggregate_id)
FROM refold.events AS e
WHERE e.aggregate_id = ANY(%s) AND e.stream_version = 1
"""


@dataclass(frozen=True, slots=True)
class Known:
    """The first event of a stream that exists.

    Attributes:
        digest: Digest of the imported line, or None when the stream is no import.
        place: File and line that it was imported from, or None likewise.
        is_erased: Whether events of the stream were erased, so that nobody can tell what it said.
    """

    digest: str | None
    place: str | None
    is_erased: bool


def known_streams(store: Store, stream_ids: Collection[UUID]) -> dict[UUID, Known]:
    """Those of `stream_ids` that exist, as the current transaction sees them."""
    with typed_errors():
        present = [row[0] for row in store.conn.execute(_HEADS, [list(stream_ids)]).fetchall()]
        if not present:
            return {}
        rows = store.conn.execute(_FIRST_EVENTS, [present]).fetchall()
    return {row[0]: Known(*row[1:]) for row in rows}


def conflict_with_store(store: Store, new: Conversation, new_place: str, known: Known) -> BadInputError:
    """The error for a conversation that the store has with another content."""
    if known.digest is None:
        remedy = (
            "the line keeps its stream, so import it into another home"
            if new.is_recorded
            else "give the import another source name"
        )
        return BadInputError(
            f"{new_place}: conversation {new.conversation_id!r} of source {new.source!r} would be stream "
            f"{new.stream_id}, which exists, says something else and was not imported; {remedy}"
        )
    place = f"{known.place} (stored as stream {new.stream_id})"
    return conflict(new, new_place, list(store.read_stream(new.stream_id)), place)


@dataclass(frozen=True, slots=True)
class Rest:
    """What the store does not have yet of a conversation that has gone on.

    Attributes:
        events: In order; none where all that the line says is there.
        version: Of the stream's last event.
    """

    events: list[NewEvent]
    version: int


def rest_of(
    stored: Sequence[StoredEvent], new: Conversation, again: Callable[[int], Conversation], new_place: str, place: str
) -> Rest:
    """What is new in a conversation that was imported before, and whose line is another now.

    Args:
        stored: The stream's events.
        new: As the line makes it.
        again: Makes it again, with so many messages in its start.
        new_place: Of the line.
        place: Of the line that was imported.

    Raises:
        BadInputError: It does not go on with what is there.
    """
    version = stored[-1].stream_version
    imported = [event for event in stored if "source_ordinal" in event.metadata]
    if new.digest in growth.digests_of(imported):
        return Rest([], version)
    leading = len(imported[0].payload["messages"])
    if len(new.events[0].payload["messages"]) > leading:
        new = again(leading)
    if not _is_import(new):
        raise conflict(new, new_place, stored, place)
    old, line = ({**restore(events), "source": new.source} for events in (imported, new.events))
    said, late = growth.without_late(old, line)
    # links are of all that a message says, so of one of which something came late they tell nothing
    is_on = bool(late) or growth.goes_on(imported, old, line, new.links)
    if not is_on or growth.difference(old, said) is not None:
        raise conflict(new, new_place, stored, place)
    return Rest(growth.rest(imported, new.events, old, line, late), version)


def goes_on(earlier: Conversation, later: Conversation) -> bool:
    """Whether of two lines of one conversation the later says what the earlier does, and more."""
    if not (_is_import(earlier) and _is_import(later)):
        return False
    old, new = ({**restore(each.events), "source": each.source} for each in (earlier, later))
    return growth.difference(old, growth.without_late(old, new)[0]) is None


def _is_import(conversation: Conversation) -> bool:
    """Whether all of it is of one line, and nothing of others."""
    return not conversation.is_recorded and all("source_ordinal" in event.metadata for event in conversation.events)


def moved_out(events: Sequence[NewEvent], closed: Collection[str], now: datetime) -> list[NewEvent]:
    """Events that would belong to a month that is closed, and those after them, with the time at which they go in; theirs is kept."""
    found: list[NewEvent] = []
    since: datetime | None = None
    for event in events:
        at = event.created_at
        if at is not None and month_of(at) in closed:
            since = max(now, since or now)
        if at is None or since is None or at >= since:
            found.append(event)
            continue
        metadata = {"occurred_at": utc_text(at), **event.metadata}
        found.append(replace(event, metadata=metadata, created_at=since))
    return found


def says_the_same(store: Store, new: Conversation) -> bool:
    """Whether a stream that was not imported says what a line says: a prompt registered again, or a line written of it."""
    return all(_is_same(*pair) for pair in zip_longest(store.read_stream(new.stream_id), new.events))


def _is_same(old: RecordedEvent | None, new: RecordedEvent | None) -> bool:
    return (
        old is not None and new is not None and old.event_type == new.event_type and same_json(old.payload, new.payload)
    )


def conflict(new: Conversation, new_place: str, old: Sequence[RecordedEvent], old_place: str) -> BadInputError:
    """The error for a conversation that `old_place` has with another content."""
    try:
        lines = ({**restore(events), "source": new.source} for events in (old, new.events))
        old_line, new_line = lines
        difference = (
            growth.difference(old_line, new_line)
            or first_difference(old_line, new_line)
            or "digits that a double does not hold"
        )
    except BadInputError:  # one of them was not imported, so that its events are all there is to compare
        pairs = enumerate(zip_longest(old, new.events), start=1)
        difference = next(
            (f"version {n} of its stream" for n, (a, b) in pairs if not _is_same(a, b)), "what came before it"
        )
    return BadInputError(
        f"{new_place}: conversation {new.conversation_id!r} of source {new.source!r} differs from {old_place}, first in "
        f"{difference}; recorded conversations never change: correct the file, or give one of them another id or source"
    )
