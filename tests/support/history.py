"""Three months of one conversation, one call and one table's rows, written as a lake; and what a query says of a lake."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.lake.lake import Lake
from pipelines.settings import SNAPSHOT_EVENTS
from pipelines.store.events import NewEvent, stream_id
from tests.support.equality import make_log
from tests.support.replayed_lake import write_events

ONE, TWO, ROWS = (str(stream_id("desk/a", name)) for name in ("one", "two", "rows"))
START = datetime(2026, 1, 31, 23, 0, tzinfo=UTC)
BY_ANN = {"subject_id": "ann", "source": "desk/a"}


def event(kind: str, day: float, payload: dict[str, Any], **metadata: Any) -> NewEvent:
    """An event `day` days after the start."""
    return NewEvent(f"{kind}.v1", payload, {**BY_ANN, **metadata}, START + timedelta(days=day))


ASKED = event("tool.call", 0.01, {"call_id": "c", "name": "refund", "arguments": {"usd": 5}}, message_id="m1")
LONG = [
    event("conversation.started", 0, {"messages": [], "agent": "desk"}),
    event("user.utterance", 0, {"text": "Anna here, refund please"}, message_id="m0"),
    ASKED,
    event("tool.result", 20, {"call_id": "c", "output": "ok", "error": None}),
    event("agent.utterance", 20.1, {"text": "Done."}, message_id="m3"),
    event("weather.changed", 45, {}),
    event("user.utterance", 45, {"text": "Thanks"}, message_id="m4"),
]
SHORT = [event("user.utterance", 18, {"text": "Hello"}, message_id="m0", subject_id="bob")]
CHANGES = [
    event(
        "row.changed", 1, {"table": "refunds", "key": 1, "before": None, "after": {"status": "asked", "amount_usd": 5}}
    ),
    event(
        "row.changed", 40, {"table": "refunds", "key": 1, "before": {}, "after": {"status": "paid", "amount_usd": 5}}
    ),
]
HISTORY = [(ONE, "conversation", LONG), (TWO, "call", SHORT), (ROWS, "customer", CHANGES)]
MEMORY_BYTES = 10**9
MONTHS = ("2026-01", "2026-02", "2026-03")
REDACTION = event(
    "redaction.applied",
    46,
    {"target": {"stream_version": 2}, "span": {"path": "/text", "start": 0, "end": 4}, "method": "mask", "reason": "r"},
)


def copy_lake(made: Path, root: Path, snapshot_events: int = SNAPSHOT_EVENTS) -> Lake:
    """A lake as it stands in another folder, to be changed: a copy takes a hundredth of what making it takes."""
    shutil.copytree(made, root)
    return Lake(root, memory_bytes=MEMORY_BYTES, snapshot_events=snapshot_events)


def write_log(root: Path, history: Iterable[tuple[str, str, Iterable[NewEvent]]]) -> Lake:
    """A lake that holds a history as an export leaves it."""
    lake = Lake(root, memory_bytes=MEMORY_BYTES)
    write_events(lake, make_log(history))
    return lake


def query(lake: Lake, text: str) -> list[tuple[Any, ...]]:
    """Rows of a query over the lake's views."""
    with lake.connect(text) as connection:
        return connection.sql(text).fetchall()
