"""What evidence is of: one stream up to a version, or all that is about a person in a time.

Nothing is chosen that the lake does not hold as the store does: evidence that lacks the newest events, or holds what an erasure is
about to take, is refused with the verb that helps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.erasure.selection import select_customer
from pipelines.errors import BadInputError
from pipelines.evidence.stream_events import find_target
from pipelines.folds.one_stream import as_number
from pipelines.lake.lake import Lake
from pipelines.store import Store
from pipelines.store.sqlstate import typed_errors

_IN_STORE = """
SELECT s.aggregate_id::text, s.stream_version, (
    SELECT count(*) FROM refold.events AS e WHERE e.aggregate_id = s.aggregate_id AND octet_length(e.digest) <> 0
)
FROM refold.streams AS s WHERE s.aggregate_id = ANY(%s::uuid[])
"""
_IN_LAKE = """
SELECT aggregate_id, max(last_version), sum(erased_events) FROM stream_months
WHERE list_contains($streams, aggregate_id) GROUP BY ALL
"""
_WITHIN = """
SELECT aggregate_id, list(stream_version) FROM events
WHERE list_contains($streams, aggregate_id) AND ($from IS NULL OR epoch_us(created_at) >= $from) AND ($to IS NULL OR epoch_us(created_at) < $to)
GROUP BY ALL
"""


@dataclass(frozen=True, slots=True)
class Period:
    """A time, half-open, in microseconds since 1970; None for no bound."""

    first: int | None = None
    until: int | None = None

    @classmethod
    def of(cls, since: datetime | None, until: datetime | None) -> Period:
        """The time between two times; naive is UTC.

        Raises:
            BadInputError: It is empty.
        """
        first, end = (None if at is None else as_number(_utc(at)) for at in (since, until))
        if first is not None and end is not None and first >= end:
            raise BadInputError(f"--from {since} is not before --to {until}; --to is excluded")
        return cls(first, end)

    def holds(self, at: int) -> bool:
        """Whether a time is in it."""
        return (self.first is None or at >= self.first) and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class ChosenStream:
    """One stream that evidence is of.

    Attributes:
        stream: Its id.
        last: Version up to which it is shown.
        stood_at: Its last version in the log.
        about: Versions that are about the person; None: all of it is.
    """

    stream: str
    last: int
    stood_at: int
    about: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What evidence is of.

    Attributes:
        asked: What was asked for, as `proof.json` has it.
        streams: By id.
        period: Only events of this time are shown.
    """

    asked: Mapping[str, Any]
    streams: tuple[ChosenStream, ...]
    period: Period = Period()


def choose_stream(store: Store, lake: Lake, stream: str) -> Chosen:
    """One stream, as it is named everywhere, with or without `@VERSION`.

    Raises:
        BadInputError: There is none such, or the lake does not hold it as the store does.
    """
    target = find_target(lake, stream)
    _refuse_behind(store, lake, [target.stream])
    is_named = target.version != target.known_version or stream.endswith(f"@{target.version}")
    asked = {"stream": target.stream, "version": target.version if is_named else None}
    return Chosen(asked, (ChosenStream(target.stream, target.version, target.known_version),))


def choose_customer(
    store: Store, lake: Lake, customer: str, since: datetime | None = None, until: datetime | None = None
) -> Chosen:
    """What is about a person: their streams, and single events in those that are about others, too.

    Args:
        store: Says what is about whom.
        lake: Holds it.
        customer: The person, as `subject_id` names them.
        since: Only events from then on; naive is UTC.
        until: Only events before then; likewise.

    Raises:
        BadInputError: There is nothing, or the lake does not hold it as the store does.
    """
    period = Period.of(since, until)
    about: dict[str, set[int] | None] = {}
    for target in select_customer(store, customer).targets:
        known = about.setdefault(target.stream, None if target.is_whole else set())
        if known is not None:
            known |= set(range(target.first, target.last + 1))
    if not about:
        raise BadInputError(
            f"no event is about {customer!r}: a customer is named by the `subject_id` of their events, and what was erased names nobody"
        )
    heads = _refuse_behind(store, lake, list(about))
    within = _within(lake, list(about), period)
    streams = [
        ChosenStream(stream, heads[stream], heads[stream], None if versions is None else frozenset(versions))
        for stream, versions in sorted(about.items())
        if stream in within and (versions is None or versions & set(within[stream]))
    ]
    if not streams:
        raise BadInputError(f"no event about {customer!r} is of that time")
    bounds = {"from": _written(period.first), "to": _written(period.until)}
    return Chosen({"customer": True, **bounds}, tuple(streams), period)


def _refuse_behind(store: Store, lake: Lake, streams: Sequence[str]) -> dict[str, int]:
    """The last versions of streams, which store and lake agree on.

    Raises:
        BadInputError: They do not.
    """
    with typed_errors():
        rows = store.conn.execute(_IN_STORE.encode(), [list(streams)]).fetchall()
    in_store: dict[str, tuple[int, int]] = {row[0]: (row[1], row[2]) for row in rows}
    with lake.connect(_IN_LAKE) as connection:
        found = connection.sql(_IN_LAKE, params={"streams": list(streams)}).fetchall()
    in_lake = {row[0]: (row[1], row[2]) for row in found}
    for stream in streams:
        here, there = in_lake.get(stream, (0, 0)), in_store.get(stream, (0, 0))
        if here[0] < there[0]:
            raise BadInputError(
                f"the store has stream {stream} up to version {there[0]}, the lake up to {here[0]}: run `refold export`, and then again"
            )
        if here[0] > there[0]:
            raise BadInputError(
                f"the lake has stream {stream} up to version {here[0]}, the store up to {there[0]}: `refold verify` says what was lost"
            )
        if here[1] != there[1]:
            raise BadInputError(
                f"{there[1]:,} events of stream {stream} are erased in the store, {here[1]:,} in the lake: run `refold erase`, which "
                "finishes what was begun, and then again"
            )
    return {stream: head for stream, (head, _) in in_store.items()}


def _within(lake: Lake, streams: Sequence[str], period: Period) -> Mapping[str, Collection[int]]:
    """Versions of a time, of those streams that have any."""
    with lake.connect(_WITHIN) as connection:
        asked = {"streams": list(streams), "from": period.first, "to": period.until}
        return dict(connection.sql(_WITHIN, params=asked).fetchall())


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _written(at: int | None) -> str | None:
    if at is None:
        return None
    return f"{datetime.fromtimestamp(at // 10**6, UTC):%Y-%m-%dT%H:%M:%S}.{at % 10**6:06}Z"
