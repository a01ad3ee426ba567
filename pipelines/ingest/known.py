"""What the store already has of a batch of conversations, and how to say that it has something else.

An imported conversation never changes: met again with the same digest it is passed over, met with any other it is an
error that names both places and the first difference. One of which events were erased stays as it is, whatever comes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from uuid import UUID

from pipelines.errors import BadInputError
from pipelines.ingest.canonical import first_difference, same_json
from pipelines.ingest.convert import Conversation
from pipelines.ingest.restore import RecordedEvent, restore
from pipelines.store.connect import Store
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
        difference = first_difference(*lines) or "digits that a double does not hold"
    except BadInputError:  # one of them was not imported, so that its events are all there is to compare
        pairs = enumerate(zip_longest(old, new.events), start=1)
        difference = next(
            (f"version {n} of its stream" for n, (a, b) in pairs if not _is_same(a, b)), "what came before it"
        )
    return BadInputError(
        f"{new_place}: conversation {new.conversation_id!r} of source {new.source!r} differs from {old_place}, first in "
        f"{difference}; recorded conversations never change: correct the file, or give one of them another id or source"
    )
