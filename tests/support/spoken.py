"""Conversations of a few sentences, as a user says them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from pipelines.store import NewEvent, Store

JANUARY, FEBRUARY = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 2, 5, tzinfo=UTC)


def say(store: Store, about: str, *texts: str, at: datetime = JANUARY, stream: UUID | None = None) -> UUID:
    """Let a user say something, a second apart, in a stream of its own or in one that is there; the stream."""
    stream = stream or uuid4()
    store.ensure_months([at])
    events = [
        NewEvent("user.utterance.v1", {"text": text}, {"actor": "user", "subject_id": about}, at + timedelta(seconds=n))
        for n, text in enumerate(texts)
    ]
    store.append(stream, "conversation", events, "any")
    return stream
