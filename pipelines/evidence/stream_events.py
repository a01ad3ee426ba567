"""Read one stream's events out of the lake, as recorded and as they may be shown, with where each stands.

The events are found and folded as `folds.state` does it for one stream, so that decisions, turns and the pairing of calls
and results are those of the views; nothing of the lake but the stream's own row groups is read.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any

import pyarrow as pa

from pipelines.duck import scratch
from pipelines.errors import BadInputError
from pipelines.fold.fold import fold
from pipelines.fold.lookup import Row
from pipelines.fold.rows import RELATIONS
from pipelines.folds.aside import refuse_large_state
from pipelines.folds.one_stream import Stretch, find_stretches
from pipelines.folds.state import Until, only_stream, possible_ids, read_events, read_redactions, stream_batch
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.log.erased import is_erased
from pipelines.log.upcasters import load_upcasters

_SMALL_GROUP = 2**24
"""Bytes of payloads of a row group that are not counted one by one."""
_LAST = 2**31 - 1
_DIGITS = 10
"""Of the largest version that there can be; Python refuses to read thousands."""


@dataclass(frozen=True, slots=True)
class Target:
    """A stream, as of a version.

    Attributes:
        stream: Its id.
        version: Up to which version it is told.
        known_version: Last version that the lake holds.
    """

    stream: str
    version: int
    known_version: int


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event.

    Attributes:
        version: Its place in the stream.
        position: Its place in the store.
        at: When it happened, UTC.
        month: YYYY-MM, its file's.
        event_type: As recorded, `noun.verb.vN`.
        event_name: `noun.verb`; None where type or version is not known.
        recorded: Payload at its latest version, redactions not applied; {} when erased.
        shown: The same with redactions applied.
        metadata: The envelope; {} when erased.
        is_erased: Whether its content is gone.
    """

    version: int
    position: int
    at: datetime
    month: str
    event_type: str
    event_name: str | None
    recorded: Mapping[str, Any]
    shown: Mapping[str, Any]
    metadata: Mapping[str, Any]
    is_erased: bool


@dataclass(frozen=True, slots=True)
class StreamEvents:
    """A stream up to a version.

    Attributes:
        target: Which stream, and up to where.
        stream_type: conversation, call, customer, …
        events: In order.
        redactions: Redactions of them, later ones too: (version, time, payload), in order.
        decisions: Rows of the fold's relation `messages`, in order: the agent's messages, with their numbers.
        places: Rows of its relation `events`, by version: role, turn, group.
        calls: Rows of its relation `tool_calls`, by version of the call.
    """

    target: Target
    stream_type: str
    events: Sequence[StreamEvent]
    redactions: Sequence[tuple[int, datetime, Mapping[str, Any]]]
    decisions: Sequence[Mapping[str, Any]]
    places: Mapping[int, Mapping[str, Any]]
    calls: Mapping[int, Mapping[str, Any]]

    def event(self, version: int) -> StreamEvent:
        """The event at a version that the lake holds."""
        return self.events[bisect_left(self.events, version, key=attrgetter("version"))]


def find_target(lake: Lake, stream: str) -> Target:
    """The stream that a person means: an id or `source/conversation_id`, with or without `@VERSION`.

    A name may end in `@7` itself; where there is a stream of the whole name, that is meant.

    Raises:
        BadInputError: There is no such stream in the lake, more than one, or it has no such version.
    """
    with _opened(lake, stream) as (target, _):
        return target


def load_events(lake: Lake, stream: str) -> StreamEvents:
    """The events of the stream that a person means, up to the version that is named.

    Args:
        lake: Holds `events`.
        stream: As for `find_target`.

    Raises:
        BadInputError: As `find_target`.
        StreamTooLargeError: They would take more than the lake's memory bound; it says which would do.
    """
    target, recorded, shown, redactions = _load(lake, stream)
    columns = (recorded[name].to_pylist() for name in ("stream_version", "created_at"))
    times: dict[int, Any] = dict(zip(*columns, strict=True))
    recorded, shown = (_until(events, target.version) for events in (recorded, shown))
    folded = fold(stream_batch(shown, with_models=True))
    rows = {name: RELATIONS[name](folded).to_pylist() for name in ("messages", "events", "tool_calls")}
    return StreamEvents(
        target=target,
        stream_type=recorded["aggregate_type"][0].as_py(),
        events=_events(recorded, shown, is_same=not redactions),
        redactions=[
            (each["stream_version"], times[each["stream_version"]], json.loads(each["payload"]))
            for each in sorted(redactions, key=itemgetter("stream_version"))
        ],
        decisions=rows["messages"],
        places={row["stream_version"]: row for row in rows["events"]},
        calls={row["stream_version"]: row for row in rows["tool_calls"]},
    )


def load_event(lake: Lake, stream: str, version: int) -> StreamEvent:
    """One event of a stream of the lake, by the stream's id and a version that is there."""
    _, recorded, shown, redactions = _load(lake, stream)
    wanted = recorded["stream_version"].to_pylist().index(version)
    (event,) = _events(recorded.slice(wanted, 1), shown.slice(wanted, 1), is_same=not redactions)
    return event


def _load(lake: Lake, stream: str) -> tuple[Target, pa.Table, pa.Table, Sequence[Row]]:
    """The stream that is meant; its events as recorded, and redacted; and its redactions."""
    with _opened(lake, stream) as (target, stretches):
        payloads = sum(stretch.bytes("payload", _SMALL_GROUP) for stretch in stretches)
        refuse_large_state(target.stream, payloads, lake.memory_bytes)
        redactions = read_redactions(stretches)
        recorded = read_events(stretches, [], 0, _LAST)
        shown = read_events(stretches, redactions, 0, _LAST) if redactions else recorded
        return target, recorded, shown, redactions


@contextmanager
def _opened(lake: Lake, stream: str) -> Iterator[tuple[Target, list[Stretch]]]:
    """The stream that is meant, and where its rows are, files open."""
    files = lake.files(EVENTS.name)
    with ExitStack() as opened:
        readings = [
            (find_stretches(files, possible_ids(name), opened), name, version) for name, version in _readings(stream)
        ]
        stretches, name, version = next((reading for reading in readings if reading[0]), readings[0])
        found = only_stream(stream, {stretch.stream for stretch in stretches})
        known = Until().last_version(stretches)
        if version is not None and not 0 < version <= known:
            raise BadInputError(f"stream {name} has no version {version}: the lake holds its versions 1 to {known}")
        yield Target(found, version or known, known), stretches


def _readings(stream: str) -> list[tuple[str, int | None]]:
    """What a text can mean, the likelier first: a name, or a name and a version."""
    name, _, version = stream.rpartition("@")
    is_version = bool(name) and version.isascii() and version.isdecimal() and len(version) <= _DIGITS
    return [(stream, None), *([(name, int(version))] if is_version else [])]


def _until(events: pa.Table, version: int) -> pa.Table:
    """Those of the events, which are in order, up to a version."""
    versions: list[Any] = events["stream_version"].to_pylist()
    return events.slice(0, bisect_right(versions, version))


def _events(recorded: pa.Table, shown: pa.Table, *, is_same: bool) -> list[StreamEvent]:
    names, payloads = _lifted(recorded)
    shown_payloads = payloads if is_same else _lifted(shown)[1]
    return [
        StreamEvent(
            version=row["stream_version"],
            position=row["position"],
            at=row["created_at"],
            month=row["month"],
            event_type=row["event_type"],
            event_name=name,
            recorded=json.loads(payload),
            shown=json.loads(shown_payload),
            metadata=json.loads(row["metadata"]),
            is_erased=is_erased(row),
        )
        for row, name, payload, shown_payload in zip(
            recorded.drop_columns(["payload"]).to_pylist(), names, payloads, shown_payloads, strict=True
        )
    ]


def _lifted(events: pa.Table) -> tuple[list[str | None], list[str]]:
    """What the events are, and their payloads at the latest version of their type, in order."""
    with scratch() as connection:
        connection.register("evidence_events", events)
        query = load_upcasters().query("evidence_events")
        lifted = connection.sql(f"SELECT event_name, payload FROM ({query}) ORDER BY stream_version").to_arrow_table()
    return lifted["event_name"].to_pylist(), lifted["payload"].to_pylist()
