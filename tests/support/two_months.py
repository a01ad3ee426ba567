"""Conversations of two months, with personal text in every payload and envelope."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from pipelines.lake.lake import Lake
from pipelines.store import NewEvent, Store
from tests.support.shop import refresh

SECRET = "Grace Hopper, grace@example.org"
"""Personal text in every payload and envelope of `say`."""
JANUARY = datetime(2026, 1, 31, 23, 50, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 3, 12, 0, tzinfo=UTC)


def say(store: Store, stream: UUID, start: datetime, texts: int = 1) -> None:
    """Append `texts` user messages, each followed by a tool call and its result and the agent's answer."""
    events = []
    for n in range(texts):
        at = start + timedelta(seconds=n)
        who = {"subject_id": SECRET, "source": "desk"}
        spoken = [
            ("user.utterance.v1", {"text": f"{SECRET}: where is my order?"}, "user"),
            ("tool.call.v1", {"call_id": f"c{n}", "name": "find_order", "arguments": {"name": SECRET}}, "agent"),
            ("tool.result.v1", {"call_id": f"c{n}", "output": {"name": SECRET}, "error": None}, "service"),
            ("agent.utterance.v1", {"text": f"{SECRET}, it is on its way."}, "agent"),
        ]
        events += [NewEvent(name, payload, {**who, "actor": actor}, at) for name, payload, actor in spoken]
    store.ensure_months([event.created_at for event in events])
    store.append(stream, "conversation", events, "any")


def say_and_fold(store: Store, lake: Lake) -> None:
    """Six conversations of February that say the same, exported and folded."""
    for _ in range(6):
        say(store, uuid4(), FEBRUARY, texts=2)
    refresh(store, lake)
