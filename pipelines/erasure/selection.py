"""What an erasure takes: a person's streams and the events about them in others', streams, single events, what is older than a time.

Asked of the store, whose events are all there are; nothing of them leaves it but their places.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from pipelines.erasure.named import find_event
from pipelines.errors import BadInputError
from pipelines.proof.erasure import Target
from pipelines.store import Store
from pipelines.store.events import REVIEW
from pipelines.store.sqlstate import typed_errors

TOLD_STREAMS = ("conversation", "call")
"""Types of streams that grow old: what happened. Prompts, tools and customers' own streams stay as long as they are named."""

# A stream is the person's unless it holds events about somebody else too. Of such a one redactions stay: without them what they hide of
# others would be shown.
_ABOUT = """
SELECT e.aggregate_id::text, s.stream_version,
    coalesce(
        array_agg(e.stream_version ORDER BY e.stream_version) FILTER (WHERE NOT starts_with(e.event_type, 'redaction.applied.')), '{}'
    ),
    EXISTS (
        SELECT FROM refold.events AS other
        WHERE other.aggregate_id = e.aggregate_id AND other.metadata ->> 'subject_id' <> %(customer)s
    )
FROM refold.events AS e INNER JOIN refold.streams AS s ON e.aggregate_id = s.aggregate_id
WHERE e.metadata ->> 'subject_id' = %(customer)s
GROUP BY e.aggregate_id, s.stream_version
ORDER BY e.aggregate_id
"""
_HEADS = """
SELECT s.aggregate_id::text, s.stream_version, s.aggregate_type, s.is_erased
FROM refold.streams AS s WHERE s.aggregate_id = ANY(%s::uuid[]) ORDER BY s.aggregate_id
"""
_OLD = """
SELECT s.aggregate_id::text, s.stream_version, EXISTS (
    SELECT FROM refold.holds AS h
    WHERE h.aggregate_id = s.aggregate_id OR h.customer IN (
        SELECT e.metadata ->> 'subject_id' FROM refold.events AS e WHERE e.aggregate_id = s.aggregate_id
    )
)
FROM refold.streams AS s
WHERE s.created_at < %(before)s AND NOT s.is_erased AND s.aggregate_type = ANY(%(types)s)
    AND (%(streams)s::uuid[] IS NULL OR s.aggregate_id = ANY(%(streams)s::uuid[]))
ORDER BY s.aggregate_id
"""
_EVENTS = """
SELECT e.aggregate_id::text, e.stream_version, e.event_type, octet_length(e.digest) <> 0
FROM unnest(%s::uuid[], %s::integer[]) AS t (stream, version)
INNER JOIN refold.events AS e ON t.stream = e.aggregate_id AND t.version = e.stream_version
"""
_JUDGED = """
SELECT e.aggregate_id::text, array_agg(e.stream_version ORDER BY e.stream_version)
FROM refold.streams AS s INNER JOIN refold.events AS e ON s.aggregate_id = e.aggregate_id
WHERE s.aggregate_type = %(review)s AND e.event_type LIKE 'verdict.recorded.v%%'
    AND split_part(e.payload ->> 'unit_id', '/', 1) = ANY(%(streams)s::text[])
GROUP BY e.aggregate_id
ORDER BY e.aggregate_id
"""
_MEASURED = """
SELECT count(*), count(DISTINCT e.aggregate_id),
    coalesce(array_agg(DISTINCT to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM')), '{}')
FROM unnest(%s::uuid[], %s::integer[], %s::integer[]) AS t (stream, first, last)
INNER JOIN refold.events AS e ON t.stream = e.aggregate_id AND e.stream_version BETWEEN t.first AND t.last
WHERE octet_length(e.digest) = 0
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """What would be erased.

    Attributes:
        targets: By stream and version; empty when there is nothing.
        events: How many events that is, those that are erased already left out.
        streams: Of how many streams.
        months: UTC months with such events, ascending.
        held: Streams that were left out because they are on hold; of what is chosen by age alone.
    """

    targets: tuple[Target, ...]
    events: int
    streams: int
    months: tuple[str, ...]
    held: int = 0


def select_customer(store: Store, customer: str) -> Selection:
    """The person's streams, and the single events about them in streams that are about others, too."""
    targets: list[Target] = []
    for stream, head, versions, is_shared in _ask(store.conn, _ABOUT, {"customer": customer}):
        if is_shared and versions:
            targets += [Target(stream, first, last, False) for first, last in _runs(versions)]
        elif not is_shared:
            targets.append(Target(stream, 1, head, True))
    return _measure(store, targets)


def select_streams(store: Store, streams: Iterable[UUID]) -> Selection:
    """All of some streams.

    Raises:
        BadInputError: There is no such stream.
    """
    wanted = sorted({str(stream) for stream in streams})
    found = {row[0]: row for row in _ask(store.conn, _HEADS, [wanted])}
    missing = [stream for stream in wanted if stream not in found]
    if missing:
        raise BadInputError(f"there is no stream {missing[0]}; nothing was erased")
    return _measure(store, [Target(stream, 1, head, True) for stream, head, _, gone in found.values() if not gone])


def select_events(store: Store, names: Iterable[str]) -> Selection:
    """Single events, each given as STREAM@VERSION, the stream by its id or as source/conversation_id.

    Raises:
        BadInputError: One is not written so, is not there, or is a redaction, without which what it hides would be shown.
    """
    places = (find_event(store, name, "erased") for name in names)
    wanted = sorted({(str(stream), version) for stream, version in places})
    columns = [list(column) for column in zip(*wanted, strict=True)]
    found = {(stream, version): (kind, gone) for stream, version, kind, gone in _ask(store.conn, _EVENTS, columns)}
    for stream, version in wanted:
        if (stream, version) not in found:
            raise BadInputError(f"there is no event {stream}@{version}; nothing was erased")
        if found[stream, version][0].startswith("redaction.applied."):
            raise BadInputError(
                f"event {stream}@{version} is a redaction: without it what it hides would be shown. Erase the event that it "
                "hides a part of, or the stream; nothing was erased"
            )
    by_stream: dict[str, list[int]] = {}
    for stream, version in wanted:
        if not found[stream, version][1]:
            by_stream.setdefault(stream, []).append(version)
    heads = {row[0]: row[1] for row in _ask(store.conn, _HEADS, [list(by_stream)])}
    targets = [
        Target(stream, first, last, (first, last) == (1, heads[stream]))
        for stream, versions in by_stream.items()
        for first, last in _runs(versions)
    ]
    return _measure(store, targets)


def select_older(store: Store, before: datetime, streams: Collection[str] | None = None) -> Selection:
    """Conversations and calls whose last event is older than a time; those on hold are left out and counted.

    Args:
        store: The store.
        before: UTC.
        streams: Only these; None for all.
    """
    asked = {"before": before, "types": list(TOLD_STREAMS), "streams": None if streams is None else list(streams)}
    rows = list(_ask(store.conn, _OLD, asked))
    targets = [Target(stream, 1, head, True) for stream, head, is_held in rows if not is_held]
    return _measure(store, targets, held=sum(is_held for _, _, is_held in rows))


def columns_of(targets: Sequence[Target]) -> list[list[Any]]:
    """Streams, first and last versions, as the columns that a query takes."""
    return [[getattr(target, name) for target in targets] for name in ("stream", "first", "last")]


def _measure(store: Store, targets: Iterable[Target], *, held: int = 0) -> Selection:
    given = list(targets)
    ordered = tuple(sorted([*given, *_verdicts_on(store, given)]))
    ((events, streams, months),) = _ask(store.conn, _MEASURED, columns_of(ordered))
    return Selection(ordered if events else (), events, streams, tuple(sorted(months)), held)


def _verdicts_on(store: Store, targets: Sequence[Target]) -> list[Target]:
    """What reviewers said of pairs of streams that go as a whole: their reasons may tell what these did."""
    whole = {target.stream for target in targets if target.is_whole}
    if not whole:
        return []
    asked = {"review": REVIEW, "streams": sorted(whole)}
    return [
        Target(stream, first, last, False)
        for stream, versions in _ask(store.conn, _JUDGED, asked)
        if stream not in whole
        for first, last in _runs(versions)
    ]


def _ask(conn: psycopg.Connection, query: str, values: Any) -> Iterator[tuple[Any, ...]]:
    with typed_errors():
        yield from conn.execute(query.encode(), values).fetchall()


def _runs(versions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending versions as runs without a gap: (first, last)."""
    first = last = versions[0]
    for version in versions[1:]:
        if version != last + 1:
            yield first, last
            first = version
        last = version
    yield first, last
