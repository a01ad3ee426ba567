"""Appending to a real PostgreSQL: expectations, retries, times, refusals."""

from __future__ import annotations

from uuid import uuid4

from pipelines.store import NewEvent, Store


def say(text: str) -> NewEvent:
    return NewEvent("user.utterance.v1", {"text": text})


def test_versions_are_gapless(store: Store) -> None:
    """Versions of a stream are 1, 2, 3 and so on over several appends."""
    stream = uuid4()
    first = store.append(stream, "conversation", [say("a"), say("b")], "no_stream")
    second = store.append(stream, "conversation", [say("c")], 2)
    assert (first.first_version, first.last_version, second.first_version) == (1, 2, 3)
    assert [e.stream_version for e in store.read_stream(stream)] == [1, 2, 3]
    assert [e.payload["text"] for e in store.read_all()] == ["a", "b", "c"]
