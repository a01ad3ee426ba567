"""The demo's history in a real store: it fits, fits only once, and comes back as it was."""

from __future__ import annotations

from pipelines.demo.desk import generate
from pipelines.log.context import Context, request_sha256
from pipelines.store import Store


def test_history_is_stored_once_and_verifies_there(store: Store):
    """Appending the history twice stores it once; request hashes verify on what the store gives back."""
    history = list(generate(1_500))
    store.ensure_months({e.created_at for batch in history for e in batch.events})
    first = store.append_many(history, validate=True)
    again = store.append_many(history, validate=True)
    assert (first.events, first.duplicate_streams) == (sum(len(batch.events) for batch in history), 0)
    assert (again.events, again.duplicate_streams) == (0, len(history))
    verified = 0
    for batch in history:
        stored = list(store.read_stream(batch.aggregate_id))
        if batch.aggregate_type not in ("conversation", "call"):
            continue
        context = Context()
        for event, given in zip(stored, batch.events, strict=True):
            assert (event.payload, event.metadata, event.created_at) == (
                given.payload,
                given.metadata,
                given.created_at,
            )
            if event.event_type.startswith("model.decision"):
                known = {key: event.payload[key] for key in ("model", "params", "tools_sha256")}
                assert request_sha256(context.messages, **known) == event.payload["request_sha256"]
                verified += 1
            context.apply(event.event_type, event.payload, event.metadata)
    assert verified > 200
