"""The state of one stream, now or at any version, position or time, straight from its events.

The plain left fold, on the one stream that was asked for; redactions hide what they hide today, also in states of before
they were applied.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from pipelines.errors import BadInputError
from pipelines.folds.reference import show
from pipelines.folds.reference_folds import StreamFold
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake

if TYPE_CHECKING:
    import duckdb

pc: Any = pyarrow.compute
Column: TypeAlias = Any  # Arrow's stubs know neither a chunk's dictionary nor that a column without nulls has a buffer
_READ = (
    "aggregate_type",
    "stream_version",
    "event_type",
    "payload",
    "metadata",
    "created_at",
    "position",
)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Part(NamedTuple):
    """A stream's events in one row group, in order; times are microseconds since 1970."""

    month: str
    stream: str
    events: pa.Table


@dataclass(frozen=True, slots=True)
class Until:
    """Up to where a stream is folded: up to a version, a position and a time, each included; None for no bound."""

    version: int | None = None
    position: int | None = None
    at: datetime | None = None

    def _bounds(self) -> list[tuple[str, Any]]:
        given = (("stream_version", self.version), ("position", self.position), ("created_at", self.at))
        return [(name, bound) for name, bound in given if bound is not None]

    def holds(self, event: Mapping[str, Any]) -> bool:
        """Whether the event is folded."""
        return all(event[name] <= bound for name, bound in self._bounds())

    def cut(self, events: pa.Table) -> tuple[pa.Table, pa.Table]:
        """A stream's events, in order: up to the last that is folded, and the redactions after it, which hide things, too."""
        folded = np.ones(events.num_rows, bool)
        for name, bound in self._bounds():
            limit = (bound - _EPOCH) // timedelta(microseconds=1) if isinstance(bound, datetime) else bound
            folded &= _numbers(events[name].cast(pa.int64()).combine_chunks()) <= limit
        end = int(np.flatnonzero(folded)[-1]) + 1 if folded.any() else 0
        after = events.slice(end)
        return events.slice(0, end), after.filter(pc.starts_with(after["event_type"], "redaction.applied."))


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
    until = Until(version, position, at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC))
    events = _read_events(lake, stream, until)
    fold = StreamFold()
    for event, seen in show(events):
        if until.holds(event):
            fold.apply(event, seen)
    if not fold.event_count:
        first = _read_events(lake, stream, Until(version=1))[0]
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
    with suppress(ValueError):
        return [str(UUID(stream))]
    from pipelines.store.events import stream_id  # noqa: PLC0415 -- importing the store takes longer than a state

    return [str(stream_id(stream[:cut], stream[cut + 1 :])) for cut in range(len(stream)) if stream[cut] == "/"]


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


def _read_events(lake: Lake, stream: str, until: Until) -> list[dict[str, Any]]:
    """The events of the stream that is meant up to `until`, and all its redactions, in order.

    Of the files only the row groups that can hold it are read.
    """
    candidates = _candidates(stream)
    parts = [part for path in lake.files(EVENTS.name) for part in _read_file(path, candidates)]
    aggregate_id = _the_one(stream, sorted({part.stream for part in parts}))
    events = [
        {"month": part.month, "aggregate_id": aggregate_id, **event}
        for part in parts
        for rows in until.cut(part.events)
        for event in rows.to_pylist()
    ]
    events.sort(key=itemgetter("stream_version"))
    for event in events:
        event["created_at"] = _EPOCH + timedelta(microseconds=event["created_at"])
        event["payload"] = json.loads(event["payload"])
        event["metadata"] = json.loads(event["metadata"])
    return events


def _read_file(path: str, streams: list[str]) -> Iterator[_Part]:
    """The events of the given streams in a file, which is sorted by stream."""
    month = Path(path).parent.name.removeprefix("month=")
    with pq.ParquetFile(path, memory_map=True, read_dictionary=["aggregate_id"]) as file:
        for stream in streams:
            for group in _groups(file, stream):
                found = _place(file.read_row_group(group, columns=["aggregate_id"])["aggregate_id"], stream)
                if found is not None:
                    # the rows of a stream lie together: cutting out their stretch copies nothing
                    stretch = file.read_row_group(group, columns=list(_READ)).slice(*found)
                    times = stretch["created_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
                    place = stretch.column_names.index("created_at")
                    yield _Part(month, stream, stretch.set_column(place, "created_at", times))


def _groups(file: pq.ParquetFile, stream: str) -> range:
    """The row groups that can hold a stream: those whose bounds, which ascend, are around it."""
    place = file.schema_arrow.names.index("aggregate_id")
    every = range(file.num_row_groups)

    def bounds(group: int) -> Any:
        return file.metadata.row_group(group).column(place).statistics

    if any(stats is None or not stats.has_min_max for stats in map(bounds, every[:1])):
        return every
    first = bisect_left(every, stream, key=lambda group: bounds(group).max)
    return range(first, bisect_right(every, stream, lo=first, key=lambda group: bounds(group).min))


def _place(ids: Column, stream: str) -> tuple[int, int] | None:
    """Where the rows of a stream begin and how many there are; None for none. Numbers are compared, not ids."""
    rows, before = [], 0
    for chunk in ids.chunks:
        names = chunk.dictionary.to_pylist()
        if stream in names:
            rows += [before + np.flatnonzero(_numbers(chunk.indices.cast(pa.int64())) == names.index(stream))]
        before += len(chunk)
    found = np.concatenate(rows) if rows else np.empty(0, np.int64)
    return (int(found[0]), len(found)) if len(found) else None


def _numbers(column: Column) -> npt.NDArray[np.int64]:
    """Integers without nulls. What says `to_numpy`, `pa.scalar` or a time's `as_py` imports pandas, if it is there: a second."""
    found: npt.NDArray[np.int64] = np.frombuffer(column.buffers()[1], np.int64)
    return found[column.offset : column.offset + len(column)]
