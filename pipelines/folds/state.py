"""The state of one stream, now or at any version, position or time, straight from its events.

The plain left fold, on the one stream that was asked for; redactions hide what they hide today, also in states of before
they were applied. A long stream is folded from the newest snapshot that can be vouched for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from pipelines.errors import BadInputError
from pipelines.folds.one_stream import Column, Stretch, as_number, as_time, find_stretches, numbers
from pipelines.folds.reference import show
from pipelines.folds.reference_folds import StreamFold
from pipelines.folds.reference_values import Row
from pipelines.folds.resumed import MessageGoesOnError, ResumedFold
from pipelines.folds.stops import Stop, newest_stop
from pipelines.lake.datasets import EVENTS, SNAPSHOTS
from pipelines.lake.fold_code import code_hash
from pipelines.lake.lake import Lake

if TYPE_CHECKING:
    import duckdb

_READ = (
    "aggregate_type",
    "stream_version",
    "event_type",
    "payload",
    "metadata",
    "created_at",
    "position",
)
_REDACTION = "redaction.applied."


@dataclass(frozen=True, slots=True)
class Until:
    """Up to where a stream is folded: up to a version, a position and a time, each included; None for no bound."""

    version: int | None = None
    position: int | None = None
    at: datetime | None = None

    def limits(self) -> dict[str, int]:
        """The bounds that there are, by column."""
        limits = {
            "stream_version": self.version,
            "position": self.position,
            "created_at": None if self.at is None else as_number(self.at),
        }
        return {name: limit for name, limit in limits.items() if limit is not None}

    def last_version(self, stretches: Sequence[Stretch]) -> int:
        """The version of the last event that is folded; 0 for none. Along a stream none of the bounded columns descends."""
        bounded = self.limits()
        last = 0
        for stretch in stretches:
            rows = stretch.read(["stream_version", *(name for name in bounded if name != "stream_version")])
            versions = numbers(rows["stream_version"].combine_chunks())
            within: npt.NDArray[np.bool_] = np.ones(len(versions), bool)
            for name, limit in bounded.items():
                within &= numbers(rows[name].combine_chunks()) <= limit
            last = max(last, int(versions[within].max(initial=0)))
        return last


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
        lake: Holds `events`; and `snapshots`, if long streams are to be fast.
        stream: Stream id, or `source/conversation_id` of a recorded conversation.
        version: Only events up to this stream version.
        position: Only events up to this position of the store.
        at: Only events up to this time; naive is UTC.

    Raises:
        BadInputError: There is no such stream in the lake, or it has no event yet at that point.
    """
    with ExitStack() as opened:
        stretches = find_stretches(lake.files(EVENTS.name), _candidates(stream), opened)
        _the_one(stream, sorted({stretch.stream for stretch in stretches}))
        until = Until(version, position, at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC))
        fold = None
        if sum(stretch.count for stretch in stretches) < lake.snapshot_events:
            events, last = _read_short(stretches, until)
        else:
            last = until.last_version(stretches)
            if last >= lake.snapshot_events:
                fold = _fold_from_stop(lake, stretches, last, opened)
            events = _read_events(stretches, 0, last) if fold is None else []
        if not last:
            first = _read_events(stretches, 0, 1)[0]
            raise BadInputError(
                f"stream {stream} had no event yet: its first is version {first['stream_version']} "
                f"at position {first['position']}, {first['created_at']:%Y-%m-%d %H:%M:%S} UTC"
            )
        fold = fold or _apply(StreamFold(), events, 0, last)
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


def _fold_from_stop(lake: Lake, stretches: Sequence[Stretch], last: int, opened: ExitStack) -> StreamFold | None:
    """The fold up to version `last` from a snapshot; None if there is none that can be vouched for."""
    snapshots = _read_snapshots(lake, stretches[0].stream, opened)
    links = _read_links(stretches, {row["stream_version"] for row in snapshots})
    redactions = _read_redactions(stretches)
    until = last
    while True:
        stop = newest_stop(snapshots, until, links, redactions, code_hash(lake.snapshot_events))
        if stop is None:
            return None
        version = stop.snapshot["stream_version"]
        try:
            return _apply(_resume(stop), _read_events(stretches, version, last), version, last)
        except MessageGoesOnError:
            until = version - 1


def _apply(fold: StreamFold, events: Sequence[Row], after: int, last: int) -> StreamFold:
    for event, seen in show(events):
        if after < event["stream_version"] <= last:
            fold.apply(event, seen)
    return fold


def _resume(stop: Stop) -> ResumedFold:
    times = {name: as_time(stop.snapshot[name]) for name in ("created_at", "started_at", "ended_at")}
    spoken = [{**each, "created_at": as_time(each["created_at"])} for each in stop.lists["transcript"]]
    return ResumedFold({**stop.snapshot, **times}, {**stop.lists, "transcript": spoken})


def _read_short(stretches: Sequence[Stretch], until: Until) -> tuple[list[Row], int]:
    """The events of a short stream, and the version of the last that is folded: all is read at once and looked at then."""
    limits = until.limits()
    events = [
        {"month": stretch.month, "aggregate_id": stretch.stream, **row}
        for stretch in stretches
        for row in stretch.read(_READ).to_pylist()
    ]
    within = [event["stream_version"] for event in events if all(event[name] <= limits[name] for name in limits)]
    last = max(within, default=0)
    wanted = [e for e in events if e["stream_version"] <= last or e["event_type"].startswith(_REDACTION)]
    return _parsed(wanted), last


def _read_events(stretches: Sequence[Stretch], after: int, last: int) -> list[Row]:
    """The events after a version up to the last that is folded, and all redactions, which hide things in states of before."""
    events = []
    for stretch in stretches:
        placed = stretch.read(["stream_version", "event_type"])
        versions = numbers(placed["stream_version"].combine_chunks())
        wanted = (versions > after) & (versions <= last)
        wanted |= _redactions_of(placed["event_type"])
        rows = np.flatnonzero(wanted)
        if not len(rows):
            continue
        # contiguous but for redactions: the stretch around them is cut out, and few rows of it are left out again
        low, high = int(rows[0]), int(rows[-1]) + 1
        read = stretch.read(_READ).slice(low, high - low).to_pylist()
        events += [{"month": stretch.month, "aggregate_id": stretch.stream, **read[row - low]} for row in rows]
    return _parsed(events)


def _parsed(events: list[Row]) -> list[Row]:
    """The same in order, their texts and times as values."""
    events.sort(key=itemgetter("stream_version"))
    for event in events:
        event["created_at"] = as_time(event["created_at"])
        event["payload"] = json.loads(event["payload"])
        event["metadata"] = json.loads(event["metadata"])
    return events


def _read_snapshots(lake: Lake, stream: str, opened: ExitStack) -> list[Row]:
    """The stream's snapshots, times as numbers."""
    columns = [column.name for column in SNAPSHOTS.data_columns if column.name != "aggregate_id"]
    found = find_stretches(lake.files(SNAPSHOTS.name), [stream], opened)
    return [{"aggregate_id": stream, **row} for stretch in found for row in stretch.read(columns).to_pylist()]


def _read_links(stretches: Sequence[Stretch], wanted: set[int]) -> dict[int, bytes]:
    """The chain's links of some of the stream's events, by version."""
    links = {}
    for stretch in stretches:
        rows = stretch.read(["stream_version", "hash"])
        versions = numbers(rows["stream_version"].combine_chunks())
        for row in np.flatnonzero(np.isin(versions, list(wanted))):
            links[int(versions[row])] = rows["hash"][int(row)].as_py()
    return links


def _read_redactions(stretches: Sequence[Stretch]) -> list[Row]:
    """The stream's redactions, payloads as text."""
    found = []
    for stretch in stretches:
        rows = np.flatnonzero(_redactions_of(stretch.read(["event_type"])["event_type"]))
        if len(rows):
            read = stretch.read(["stream_version", "payload", "hash"])
            found += [read.slice(int(row), 1).to_pylist()[0] for row in rows]
    return found


def _redactions_of(event_types: Column) -> npt.NDArray[np.bool_]:
    """Which events are redactions."""
    return np.array([kind.startswith(_REDACTION) for kind in event_types.to_pylist()], np.bool_)
