"""The state of one stream, now or at any version, position or time, straight from its events.

The plain left fold, on the one stream that was asked for; redactions hide what they hide today, also in states of before
they were applied.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import duckdb

from pipelines.errors import BadInputError
from pipelines.folds.reference import show
from pipelines.folds.reference_folds import StreamFold
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.store.events import stream_id


def state(
    lake: Lake,
    stream: str,
    *,
    version: int | None = None,
    position: int | None = None,
    at: datetime | None = None,
) -> dict[str, Any]:
    """State of a stream of any type: the columns of `conversation_months` without the month, and `aggregate_type`.

    Args:
        lake: Holds `events`.
        stream: Stream id, or `source/conversation_id` of a recorded conversation.
        version: Only events up to this stream version.
        position: Only events up to this position of the store.
        at: Only events up to this time; naive is UTC.

    Raises:
        BadInputError: There is no such stream in the lake, or it has no event yet at that point.
    """
    with lake.connect() as connection:
        found = find_stream(connection, stream)
        events = _read_events(connection, found)
    if at is not None and at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    fold = StreamFold()
    for event, seen in show(events):
        if (
            (version is None or event["stream_version"] <= version)
            and (position is None or event["position"] <= position)
            and (at is None or event["created_at"] <= at)
        ):
            fold.apply(event, seen)
    if not fold.event_count:
        first = events[0]
        raise BadInputError(
            f"stream {stream} had no event yet: its first is version {first['stream_version']} "
            f"at position {first['position']}, {first['created_at']:%Y-%m-%d %H:%M:%S} UTC"
        )
    return {"aggregate_type": fold.aggregate_type, **fold.state()}


def find_stream(connection: duckdb.DuckDBPyConnection, stream: str) -> str:
    """Id of the stream that a person means by `stream`, an id or `source/conversation_id`.

    Both parts may hold slashes, so every way to divide the text is tried.

    Raises:
        BadInputError: None or more than one stream of the lake is meant.
    """
    candidates = [str(stream_id(stream[:cut], stream[cut + 1 :])) for cut in range(len(stream)) if stream[cut] == "/"]
    with suppress(ValueError):
        candidates.append(str(UUID(stream)))
    query = "SELECT DISTINCT aggregate_id FROM stream_months WHERE list_contains($candidates, aggregate_id) ORDER BY 1"
    found = [row[0] for row in connection.sql(query, params={"candidates": candidates}).fetchall()]
    if len(found) == 1:
        return str(found[0])
    if found:
        raise BadInputError(
            f"{stream!r} is the name of {len(found)} streams; give one of their ids: {', '.join(found)}"
        )
    raise BadInputError(
        f"no stream {stream!r} in the lake; give a stream id or source/conversation_id, and export its month first"
    )


def _read_events(connection: duckdb.DuckDBPyConnection, stream: str) -> list[dict[str, Any]]:
    columns = ", ".join(EVENTS.column_names)
    query = f"SELECT {columns} FROM events WHERE aggregate_id = $stream ORDER BY stream_version"
    events: list[dict[str, Any]] = connection.sql(query, params={"stream": stream}).to_arrow_table().to_pylist()
    for event in events:
        event["payload"] = json.loads(event["payload"])
        event["metadata"] = json.loads(event["metadata"])
    return events
