"""Which streams a month touches, what of their history is read, and how they are cut into batches.

A batch is a range of stream ids. Ranges follow the number of events, so that no batch is much larger than the others; a
stream that alone is larger than a batch is read in ranges of its versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.duck import create_table, create_view
from pipelines.fold.lookup import redactions_hash
from pipelines.log.erased import IS_ERASED
from pipelines.log.redaction import IS_REDACTION, TARGET_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

EVENT_HEADS = f"""
SELECT
    aggregate_id, month, min(stream_version) AS first_version, max(stream_version) AS last_version,
    count(*) AS event_count, arg_max(hash, stream_version) AS last_hash, count_if({IS_ERASED.format("")})::INTEGER AS erased_events
FROM events
GROUP BY aggregate_id, month
"""
"""What a log says of its streams by itself; a lake has it in `stream_months`."""

HEADS = """
SELECT
    aggregate_id, month, first_version, last_version, event_count, last_hash, coalesce(erased_events, 0) AS erased_events
FROM stream_months
"""
"""The same of a lake."""

LAST_ID = "~"
"""Above every stream id: ids are hexadecimal."""

_REDACTIONS = f"""
CREATE OR REPLACE TEMP TABLE fold_redactions AS
SELECT
    aggregate_id, month, stream_version, hex(hash) AS hash,
    {TARGET_VERSION} AS target_version
FROM {{log}}
WHERE {IS_REDACTION}
"""
APPLIED = "list(concat_ws(' ', applied.stream_version, applied.hash))"
"""The redactions `applied` of a group, as SQL, as `pipelines.fold.lookup` takes them."""
_IN_FORCE = f"""
SELECT applied.aggregate_id, {APPLIED} AS applied
FROM fold_redactions AS applied
INNER JOIN fold_heads AS reached
    ON applied.aggregate_id = reached.aggregate_id AND applied.target_version <= reached.last_version
WHERE reached.month = $month
GROUP BY applied.aggregate_id
"""
_TOUCHED = """
CREATE OR REPLACE TEMP TABLE fold_touched AS
SELECT
    heads.aggregate_id, heads.first_version, heads.first_version > 1 AS is_behind, heads.event_count AS events,
    heads.last_hash, redacted.redactions_hash, coalesce(erased.events, 0)::INTEGER AS erased_events
FROM fold_heads AS heads
LEFT JOIN fold_in_force AS redacted ON heads.aggregate_id = redacted.aggregate_id
LEFT JOIN (
    SELECT aggregate_id, sum(erased_events) AS events
    FROM fold_heads
    WHERE month <= $month AND erased_events > 0
    GROUP BY aggregate_id
) AS erased ON heads.aggregate_id = erased.aggregate_id
WHERE heads.month = $month
"""
_UNCHANGED = """
DELETE FROM fold_touched
USING (
    SELECT aggregate_id, last_hash, redactions_hash, erased_events
    FROM snapshots
    WHERE month = $month
    QUALIFY row_number() OVER (PARTITION BY aggregate_id ORDER BY stream_version DESC) = 1
) AS stored
WHERE
    stored.aggregate_id = fold_touched.aggregate_id
    AND stored.last_hash = fold_touched.last_hash
    AND stored.redactions_hash IS NOT DISTINCT FROM fold_touched.redactions_hash
    AND stored.erased_events = fold_touched.erased_events
"""
_BEHIND = """
CREATE OR REPLACE TEMP TABLE fold_behind AS
SELECT heads.aggregate_id, max(heads.month) AS last_month, sum(heads.event_count)::BIGINT AS events
FROM fold_heads AS heads
INNER JOIN fold_touched AS touched ON heads.aggregate_id = touched.aggregate_id AND touched.is_behind
WHERE heads.month < $month
GROUP BY heads.aggregate_id
"""
_OTHERS = """
SELECT aggregate_id FROM fold_heads
WHERE month = $month AND aggregate_id NOT IN (SELECT aggregate_id FROM fold_touched)
"""
LAST_VERSION = 2**31 - 1
"""Not below any stream version."""
# Batches within each piece between two cuts; small pieces are put together afterwards. A large stream is a piece of its own:
# one that has more to read than a batch, or would have if it had to be folded from its first event after all.
_PIECES = """
SELECT
    min(aggregate_id), sum(events)::BIGINT, bool_or(is_large), min(after), sum(new_events)::BIGINT, sum(weight)::BIGINT
FROM (
    SELECT
        sized.*, cuts.cut,
        count(*) FILTER (WHERE sized.is_large) OVER in_order AS larges,
        (sum(sized.weight) OVER in_order - sized.weight) // $most AS batch
    FROM (
        SELECT
            touched.aggregate_id,
            coalesce(resumed.stream_version, touched.first_version - 1) AS after,
            touched.first_version + touched.events - 1 AS last_version,
            last_version - after AS new_events,
            new_events + coalesce(behind.events, 0) AS events,
            {new_weight} AS new_weight,
            if(behind.aggregate_id IS NULL, new_weight, {weight}) AS weight,
            if(resumed.stream_version > 0 AND coalesce(resumed.open_message, '') = '', new_weight, {whole_weight}) > $most
                AS is_large
        FROM fold_touched AS touched
        LEFT JOIN fold_behind AS behind ON touched.aggregate_id = behind.aggregate_id
        LEFT JOIN fold_resumed AS resumed ON touched.aggregate_id = resumed.aggregate_id
        {sizes}
    ) AS sized
    ASOF INNER JOIN (SELECT unnest($cuts) AS cut) AS cuts ON sized.aggregate_id >= cuts.cut
    WINDOW in_order AS (PARTITION BY cuts.cut ORDER BY sized.aggregate_id)
) AS pieces
GROUP BY cut, batch, larges, is_large
ORDER BY 1
"""
_BY_EVENTS = {
    "new_weight": "new_events",
    "weight": "new_events + behind.events",
    "whole_weight": "last_version",
    "sizes": "",
}
_BY_BYTES = {
    "new_weight": "sizes.new_bytes",
    "weight": "sizes.bytes",
    "whole_weight": "sizes.bytes",
    "sizes": "LEFT JOIN fold_sizes AS sizes ON touched.aggregate_id = sizes.aggregate_id",
}
EVENT_BYTES = 500
"""What an event takes in columns beside its texts, about."""
_EVENT_SIZE = f"{EVENT_BYTES} + strlen(events.payload) + strlen(events.metadata)"
# What happened before the month is read of streams alone that go on from nothing, or in the middle of a message.
_SIZES = f"""
CREATE OR REPLACE TEMP TABLE fold_sizes AS
SELECT
    events.aggregate_id, sum({_EVENT_SIZE})::BIGINT AS bytes, sum(strlen(events.payload))::BIGINT AS payloads,
    max(strlen(events.payload)) AS largest,
    coalesce(sum({_EVENT_SIZE}) FILTER (
        WHERE events.stream_version > coalesce(resumed.stream_version, touched.first_version - 1)
    ), 0)::BIGINT AS new_bytes
FROM events
INNER JOIN fold_touched AS touched ON events.aggregate_id = touched.aggregate_id
LEFT JOIN fold_resumed AS resumed ON touched.aggregate_id = resumed.aggregate_id
WHERE
    events.month <= $month
    AND (events.month = $month OR resumed.aggregate_id IS NULL OR coalesce(resumed.open_message, '') <> '')
GROUP BY events.aggregate_id
"""
_TOUCHED_BYTES = f"""
SELECT coalesce(sum({_EVENT_SIZE}), 0)::BIGINT
FROM events
INNER JOIN fold_touched AS touched ON events.aggregate_id = touched.aggregate_id
WHERE events.month <= $month
"""
# What starts within a part belongs to it.
_ENDS = f"""
SELECT max(stream_version)
FROM (
    SELECT stream_version, (sum(bytes) OVER (ORDER BY stream_version) - bytes) // $step AS part
    FROM (
        SELECT events.stream_version, {_EVENT_SIZE} AS bytes
        FROM events
        WHERE
            events.aggregate_id = $stream AND events.month <= $month
            AND events.stream_version > $after AND events.stream_version <= $until
    ) AS sized
) AS parts
GROUP BY part
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class RangeSize:
    """How much is read at a time.

    Attributes:
        events: Events of a range; 0: all are one.
        bytes: Bytes of a range; 0: where events are about alike, their number tells enough, and none is read to be measured.
    """

    events: int = 0
    bytes: int = 0

    @property
    def most(self) -> int:
        """What a range holds, in what it is measured by."""
        return self.bytes or self.events


@dataclass(frozen=True, slots=True)
class Span:
    """What is read at a time.

    Attributes:
        low: The least id of the range of streams.
        high: The least id above it.
        events: How many events are read, at most.
        stream: The stream, if the range is a part of one.
        after: Its version before the range.
        until: Its last version in the range; `LAST_VERSION` if no range of it follows.
    """

    low: str
    high: str
    events: int
    stream: str | None = None
    after: int = 0
    until: int = LAST_VERSION


ALL = RangeSize()


def create_redactions(connection: duckdb.DuckDBPyConnection, log: str = "events") -> None:
    """Create `fold_redactions`: every redaction of the log and the version that it hides a part of."""
    connection.execute(_REDACTIONS.format(log=log))


def hash_redactions(rows: pa.Table) -> pa.Table:
    """The rows, which are few, with `redactions_hash` in the place of `applied`, the redactions of each; null for none."""
    import pyarrow as pa  # noqa: PLC0415 - not for a fold with nothing to do

    hashes = [redactions_hash(applied or ()) for applied in rows["applied"].to_pylist()]
    return rows.drop_columns(["applied"]).append_column("redactions_hash", pa.array(hashes, pa.string()))


class Plan:
    """Which streams of a month are folded, and what of their history is read.

    It alone makes and changes the relations `fold_heads`, `fold_redactions`, `fold_in_force` (the hash of those that reach a stream),
    `fold_touched` (the streams), `fold_behind` (those whose history is read) and `fold_sizes` of its connection, which queries name;
    what streams go on from is `resume`'s.

    Args:
        connection: Has what `heads` reads; and `snapshots`, if streams are left out that are unchanged.
        month: YYYY-MM.
        heads: A SELECT of `aggregate_id, month, first_version, last_version, event_count, last_hash, erased_events`.
        log: The relation that has all redactions, if `events` is a part of the log.

    Attributes:
        streams: How many are folded.
        events: Their events in the month.
        erased_events: Events up to the month's end that are erased, of all streams.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, month: str, heads: str = EVENT_HEADS, log: str = "events"
    ) -> None:
        self.connection = connection
        self.month = month
        create_view(connection, "fold_heads", heads)
        create_redactions(connection, log)
        in_force = connection.sql(_IN_FORCE, params={"month": month}).to_arrow_table()
        create_table(connection, "fold_in_force", hash_redactions(in_force))
        ((erased,),) = self._rows(
            "SELECT coalesce(sum(erased_events), 0)::BIGINT FROM fold_heads WHERE month <= $month", month=month
        )
        self.erased_events = int(erased)
        self.begin()

    def begin(self) -> None:
        """Plan all streams that the month touches."""
        self.connection.execute(_TOUCHED, {"month": self.month})
        self._count()

    def leave_out(self, streams: Sequence[str]) -> None:
        """Take streams out, by their ids; their events in the month are left out by whoever reads it."""
        if streams:
            self.connection.execute(
                "DELETE FROM fold_touched WHERE list_contains($streams, aggregate_id)", {"streams": list(streams)}
            )
            self._count()

    def leave_out_unchanged(self) -> None:
        """Take the streams out that were folded as they are now."""
        self.connection.execute(_UNCHANGED, {"month": self.month})
        self._count()

    def fits(self, size: RangeSize) -> bool:
        """Whether what is planned is no more than one range.

        Where that is measured in bytes, all events up to the month's end count: states list what happened in all of them.
        """
        if not size.bytes:
            return self.events <= size.events
        return int(self._rows(_TOUCHED_BYTES, month=self.month)[0][0]) <= size.bytes

    def months_before(self) -> list[str]:
        """The earlier months in which the streams last had events."""
        return [month for (month,) in self._rows("SELECT DISTINCT last_month FROM fold_behind ORDER BY 1")]

    def is_behind(self, stream: str | None = None) -> bool:
        """Whether anything before the month is read, of one stream or of any."""
        return bool(
            self._rows("SELECT 1 FROM fold_behind WHERE coalesce(aggregate_id = $stream, TRUE) LIMIT 1", stream=stream)
        )

    def others(self) -> pa.Table:
        """The ids of the month's streams that are not folded."""
        found: pa.Table = self.connection.sql(_OTHERS, params={"month": self.month}).to_arrow_table()
        return found

    def sizes(self, least: int) -> list[tuple[str, int, int]]:
        """Streams with so many bytes of payloads, as `spans` measured them: id, bytes, bytes of the largest."""
        query = "SELECT aggregate_id, payloads, largest FROM fold_sizes WHERE payloads >= $least"
        return [(str(stream), int(size), int(largest)) for stream, size, largest in self._rows(query, least=least)]

    def spans(self, size: RangeSize, cuts: Sequence[str] = ()) -> list[Span]:
        """What is read, in the order of ids, once it is known what streams go on from. A month without streams has one range, too.

        Args:
            size: Of a range, at most, unless one event has more. Of a stream with more, ranges have a quarter of it.
            cuts: Ids before which a batch had best begin, in any order: where row groups do, none is read twice.
        """
        most = size.most or 2**62
        if size.bytes:
            self.connection.execute(_SIZES, {"month": self.month})
        elif (events := self._most_read()) <= most:
            return [Span("", LAST_ID, events)]
        planned: list[tuple[Span, int]] = []
        pieces = _PIECES.format(**(_BY_BYTES if size.bytes else _BY_EVENTS))
        for low, count, is_large, after, new, weight in self._rows(pieces, most=most, cuts=["", *cuts]):
            last, held = planned[-1] if planned else (None, 0)
            if is_large:
                planned.append((Span(low, "", new, low, after), 0))
            elif last is not None and last.stream is None and held + weight <= most:
                planned[-1] = replace(last, events=last.events + count), held + weight
            else:
                planned.append((Span(low if planned else "", "", count), weight))
        found = [span for span, _ in planned] or [Span("", "", 0)]
        highs = [*(span.low for span in found[1:]), LAST_ID]
        ranges = [replace(span, high=high) for span, high in zip(found, highs, strict=True)]
        return [each for span in ranges for each in (self.versions(span, size) if span.stream else [span])]

    def _most_read(self) -> int:
        """All events of the streams up to the month's end: no more are read, whatever streams go on from."""
        ((events,),) = self._rows("SELECT coalesce(sum(first_version + events - 1), 0)::BIGINT FROM fold_touched")
        return int(events)

    def versions(self, span: Span, size: RangeSize) -> list[Span]:
        """A stream's range of versions up to the month's end, in ranges of a quarter of a batch's size."""
        step = max(size.most // 4, 1)
        last = span.after + span.events
        if size.bytes:
            bounds = {"stream": span.stream, "after": span.after, "until": span.until, "step": step}
            ends = [end for (end,) in self._rows(_ENDS, month=self.month, **bounds)[:-1]]
        else:
            ends = list(range(span.after + step, last, step))
        return [
            replace(span, after=after, until=until, events=min(until, last) - after)
            for after, until in zip([span.after, *ends], [*ends, span.until], strict=True)
        ]

    def _count(self) -> None:
        self.connection.execute(_BEHIND, {"month": self.month})
        ((streams, events),) = self._rows("SELECT count(*), coalesce(sum(events), 0)::BIGINT FROM fold_touched")
        self.streams, self.events = int(streams), int(events)

    def _rows(self, query: str, **params: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, params).fetchall()
