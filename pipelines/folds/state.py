"""The state of one stream, now or at any version, position or time, straight from its events.

The plain left fold, on the one stream that was asked for; redactions hide what they hide today, also in states of before
they were applied.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import BadInputError
from pipelines.folds.columns import compute as pc
from pipelines.folds.reference import show
from pipelines.folds.reference_folds import StreamFold
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.store.events import stream_id

_READ = (
    "aggregate_id",
    "aggregate_type",
    "stream_version",
    "event_type",
    "payload",
    "metadata",
    "created_at",
    "position",
)


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
    events = _read_events(lake, stream)
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

    Args:
        connection: Has `stream_months`.
        stream: What was given.

    Raises:
        BadInputError: None or more than one stream of the lake is meant.
    """
    query = "SELECT DISTINCT aggregate_id FROM stream_months WHERE list_contains($candidates, aggregate_id) ORDER BY 1"
    found = connection.sql(query, params={"candidates": _candidates(stream)}).fetchall()
    return _the_one(stream, [str(row[0]) for row in found])


def _candidates(stream: str) -> list[str]:
    """The ids that `stream` can mean. Both parts of a name may hold slashes, so every way to divide the text is tried."""
    candidates = [str(stream_id(stream[:cut], stream[cut + 1 :])) for cut in range(len(stream)) if stream[cut] == "/"]
    with suppress(ValueError):
        candidates.append(str(UUID(stream)))
    return candidates


def _the_one(stream: str, found: list[str]) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInputError(
            f"{stream!r} is the name of {len(found)} streams; give one of their ids: {', '.join(found)}"
        )
    raise BadInputError(
        f"no stream {stream!r} in the lake; give a stream id or source/conversation_id, and export its month first"
    )


def _read_events(lake: Lake, stream: str) -> list[dict[str, Any]]:
    """The events of the stream that is meant, in order; of the files only the row groups that can hold it are read."""
    events = [event for path in lake.files(EVENTS.name) for event in _read_file(path, _candidates(stream))]
    _the_one(stream, sorted({event["aggregate_id"] for event in events}))
    events.sort(key=itemgetter("stream_version"))
    for event in events:
        event["payload"] = json.loads(event["payload"])
        event["metadata"] = json.loads(event["metadata"])
    return events


def _read_file(path: str, streams: list[str]) -> list[dict[str, Any]]:
    month = {"month": Path(path).parent.name.removeprefix("month=")}
    rows: list[dict[str, Any]] = []
    with pq.ParquetFile(path, memory_map=True) as file:
        place = file.schema_arrow.names.index("aggregate_id")
        wanted = pa.array(streams, pa.string())
        for group in range(file.num_row_groups):
            bounds: Any = file.metadata.row_group(group).column(place).statistics
            if bounds is not None and bounds.has_min_max and not any(bounds.min <= s <= bounds.max for s in streams):
                continue
            ids = file.read_row_group(group, columns=["aggregate_id"])["aggregate_id"]
            found = pc.indices_nonzero(pc.is_in(ids, value_set=wanted))
            if len(found):
                # the rows of a stream lie together: cutting out their stretch copies nothing
                first, last = found[0].as_py(), found[-1].as_py()
                stretch = file.read_row_group(group, columns=list(_READ)).slice(first, last - first + 1)
                rows += stretch.filter(pc.is_in(stretch["aggregate_id"], value_set=wanted)).to_pylist()
    return [month | row for row in rows]
