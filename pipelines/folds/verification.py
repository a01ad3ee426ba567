"""Check rebuilt contexts: does the request that a decision saw, rebuilt from events, have the hash that was recorded?

Where an event of the context is erased, no request can be rebuilt: nothing is checked, which is no mismatch.

The events are read as recorded, upcast but not redacted, because the recorder hashed what it sent. Only streams with a
recorded hash in the month are read, event by event. A message is hashed once for every head that requests of its stream
have, and then forgotten; of a stream that is folded in parts, the hashers go on from one part to the next.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from pipelines.compact_json import read_json
from pipelines.duck import create_table
from pipelines.folds.plan import Span
from pipelines.log.context import Context, decision_head, message_bytes

_BATCH = 20_000  # events; bounds what is in Python at once
_STRETCH = 100_000  # events of one stream that are sorted at a time
_FIELDS: list[tuple[str, pa.DataType]] = [
    ("stream_no", pa.int32()),
    ("decision", pa.int32()),
    ("is_verified", pa.bool_()),
]
_SCHEMA = pa.schema(_FIELDS)
_ASKED = """
SELECT stream_no, aggregate_id, first_version, decision, model_version
FROM fold_messages
WHERE is_in_month AND NOT is_context_erased AND json_extract_string(model, '$.request_sha256') IS NOT NULL
"""
# what was asked is in the payload as recorded; a message's model call may be redacted
_REQUESTS = """
SELECT asked.stream_no, asked.decision, asked.aggregate_id, asked.first_version, recorded.payload
FROM fold_asked_models AS asked
INNER JOIN upcast_recorded_events AS recorded
    ON asked.aggregate_id = recorded.aggregate_id AND asked.model_version = recorded.stream_version
WHERE
    recorded.month <= $month
    AND recorded.aggregate_id >= $low
    AND recorded.aggregate_id < $high
    AND recorded.event_name = 'model.decision'
    AND json_extract_string(recorded.payload, '$.request_sha256') IS NOT NULL
ORDER BY asked.aggregate_id, asked.first_version
"""
_COMPACTED = """
SELECT DISTINCT aggregate_id
FROM upcast_recorded_events
WHERE
    month <= $month AND aggregate_id >= $low AND aggregate_id < $high AND event_name = 'context.compacted'
"""
_OF_STREAM = """
SELECT payload
FROM upcast_recorded_events
WHERE
    aggregate_id = $stream AND month <= $month AND event_name = 'model.decision'
    AND json_extract_string(payload, '$.request_sha256') IS NOT NULL
"""
# a request's context is what comes before the first event of its decision
_HISTORY = """
SELECT
    recorded.aggregate_id, recorded.stream_version, recorded.event_name, recorded.payload,
    json_extract_string(recorded.metadata, ['$.message_id', '$.actor']) AS envelope,
    envelope[1] AS message_id, envelope[2] AS actor
FROM upcast_recorded_events AS recorded
INNER JOIN (
    SELECT aggregate_id, max(first_version) AS last_version FROM fold_asked_models GROUP BY aggregate_id
) AS asked
    ON recorded.aggregate_id = asked.aggregate_id AND recorded.stream_version < asked.last_version
WHERE
    recorded.month <= $month
    AND recorded.aggregate_id >= $low
    AND recorded.aggregate_id < $high
    AND recorded.stream_version > $after
    AND recorded.stream_version <= $until
    AND recorded.event_name IN (
        'conversation.started', 'context.supplied', 'user.utterance', 'agent.utterance', 'tool.call',
        'tool.result', 'model.decision', 'agent.reasoning', 'context.compacted'
    )
ORDER BY recorded.aggregate_id, recorded.stream_version
"""
_CLOSING = frozenset(("context.supplied", "user.utterance", "tool.result"))
"""After these no message changes any more."""

Row = Mapping[str, Any]


class Event(NamedTuple):
    """An event of a stream's history."""

    aggregate_id: str
    stream_version: int
    event_name: str
    payload: str
    message_id: str | None
    actor: str | None


class Request(NamedTuple):
    """A request whose hash was recorded.

    Attributes:
        stream_no: Number of its stream in the batch.
        decision: It is the request of.
        aggregate_id: Its stream.
        first_version: Of its decision's events; what comes before them is its context.
        head: Its head, as it is hashed.
        sha256: The hash that was recorded.
    """

    stream_no: int
    decision: int
    aggregate_id: str
    first_version: int
    head: bytes
    sha256: Any


class RunningRequests:
    """The hashes of one stream's requests.

    Args:
        heads: What the requests have before their messages, and how many requests have it.
        is_compacted: Whether messages of the stream give way to others, so that all are hashed again after that.

    Attributes:
        version: All events up to this one are in the context.
    """

    def __init__(self, heads: Mapping[bytes, int], *, is_compacted: bool = False) -> None:
        self.version = 0
        self._forgets = not is_compacted
        self._uses = Counter(heads)
        self._hashers = {head: hashlib.sha256(head + b"\n") for head in heads}
        self._context = Context()
        self._hashed = 0
        self._is_readable = True

    def verify(self, requests: Iterable[Request], events: Iterator[Event]) -> Iterator[tuple[int, int, bool]]:
        """Number of the stream, decision, and whether its request has the recorded hash; requests and events in order."""
        event = next(events, None)
        for request in requests:
            while event is not None and event.stream_version < request.first_version:
                self._apply(event)
                event = next(events, None)
            self.version = request.first_version - 1
            is_verified = self._is_readable and self._sha256(request.head) == request.sha256
            yield request.stream_no, request.decision, is_verified

    def _apply(self, event: Event) -> None:
        try:
            self._context.add(event.event_name, read_json(event.payload), event.message_id, event.actor)
        except (KeyError, TypeError, AttributeError):
            # a payload that breaks its schema: the request cannot be rebuilt from here on, so it is not verified
            self._is_readable = False
        if event.event_name == "context.compacted":
            self._hashers = {head: hashlib.sha256(head + b"\n") for head in self._hashers}
            self._hashed = 0
        if event.event_name in _CLOSING:
            self._hash()

    def _sha256(self, head: bytes) -> str:
        """Hash of the request that the messages so far make; there is one use of the head less."""
        self._hash()
        digest = self._hashers[head].hexdigest()
        self._uses[head] -= 1
        if not self._uses[head]:
            del self._hashers[head]
        return digest

    def _hash(self) -> None:
        """Feed the new messages, all of which are complete, to the hashers, and forget them."""
        messages = self._context.messages
        for number in range(self._hashed, len(messages)):
            line = message_bytes(messages[number]) + b"\n"
            for hasher in self._hashers.values():
                hasher.update(line)
            if self._forgets:
                messages[number] = {}
        self._hashed = len(messages)


class Verifier:
    """Verifies the requests of a month, batch after batch.

    Args:
        connection: Has what `create_readable` makes, and `fold_messages` of the current batch.
        month: YYYY-MM.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, month: str) -> None:
        self._connection = connection
        self._month = month
        self._stream: str | None = None
        self._running = RunningRequests({})
        self._compacted: frozenset[str] = frozenset()

    def create(self, span: Span) -> None:
        """Create `fold_verification`: one row for each decision of the batch in the month whose request's hash was recorded.

        The whole context counts, from the stream's first event on, because all of it is hashed.
        """
        create_table(self._connection, "fold_asked_models", self._connection.sql(_ASKED).to_arrow_table())
        rows: list[tuple[int, int, bool]] = []
        if self._connection.execute("SELECT count(*) FROM fold_asked_models").fetchall()[0][0]:
            params = {"month": self._month, "low": span.low, "high": span.high}
            requests = self._connection.sql(_REQUESTS, params=params).to_arrow_table()
            compacted = self._connection.execute(_COMPACTED, params).fetchall()
            self._compacted = frozenset(stream for (stream,) in compacted)
            verified = self._of_streams(requests, span) if span.stream is None else self._of_part(requests, span)
            rows = list(verified)
        columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
        create_table(self._connection, "fold_verification", pa.Table.from_arrays(arrays, schema=_SCHEMA))

    def _of_streams(self, requests: pa.Table, span: Span) -> Iterator[tuple[int, int, bool]]:
        by_stream = attrgetter("aggregate_id")
        histories = groupby(self._events(span, 0, span.until), by_stream)
        stream, events = next(histories, (None, iter(())))
        for asking, group in groupby(_requests(requests), by_stream):
            asked = list(group)
            heads = Counter(each.head for each in asked)
            running = RunningRequests(heads, is_compacted=asking in self._compacted)
            # without an event before its first request, a stream has no history
            yield from running.verify(asked, events if asking == stream else iter(()))
            if asking == stream:
                stream, events = next(histories, (None, iter(())))

    def _of_part(self, requests: pa.Table, span: Span) -> Iterator[tuple[int, int, bool]]:
        if not requests.num_rows:
            return
        if self._stream != span.stream:
            of_stream = self._connection.sql(_OF_STREAM, params={"stream": span.stream, "month": self._month})
            heads = Counter(
                decision_head(read_json(payload.as_py()))
                for batch in of_stream.to_arrow_reader(_BATCH)
                for payload in batch.column(0)
            )
            is_compacted = span.stream in self._compacted
            self._stream, self._running = span.stream, RunningRequests(heads, is_compacted=is_compacted)
        last = requests["first_version"][-1].as_py() - 1
        stretches = range(self._running.version, last, _STRETCH)
        events = chain.from_iterable(self._events(span, low, min(low + _STRETCH, last)) for low in stretches)
        yield from self._running.verify(_requests(requests), events)

    def _events(self, span: Span, after: int, until: int) -> Iterator[Event]:
        params = {"month": self._month, "low": span.low, "high": span.high, "after": after, "until": until}
        reader = self._connection.sql(_HISTORY, params=params).to_arrow_reader(_BATCH)
        return (Event(*row) for batch in reader for row in _rows(batch, Event._fields))


def _requests(requests: pa.Table) -> Iterator[Request]:
    for batch in requests.to_batches(_BATCH):
        for stream_no, decision, stream, first_version, payload in _rows(batch, [*Request._fields[:4], "payload"]):
            asked = read_json(payload)
            yield Request(stream_no, decision, stream, first_version, decision_head(asked), asked["request_sha256"])


def _rows(batch: pa.RecordBatch, names: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(batch.column(name).to_pylist() for name in names), strict=True)
