"""The state of one stream, now or at any version, position or time, straight from its events.

The fold, on the one stream that was asked for; redactions hide what they hide today, also in states of before they were
applied. A long stream is folded from the newest snapshot that can be vouched for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.duck import scratch
from pipelines.errors import BadInputError, RefoldError
from pipelines.fold.batch import Batch, make_batch
from pipelines.fold.carry import Carry
from pipelines.fold.fold import fold, place
from pipelines.fold.identity import code_hash
from pipelines.fold.lookup import Row, Snapshot, find_snapshot
from pipelines.fold.messages import continuing
from pipelines.fold.pieces import whole
from pipelines.fold.schemas import LISTS, STANDING
from pipelines.fold.states import build_states, count_states, shown
from pipelines.folds.aside import refuse_large_state
from pipelines.folds.event_columns import columns_query, with_values
from pipelines.folds.one_stream import Column, Stretch, as_number, as_time, find_stretches, numbers, plain
from pipelines.folds.plan import LAST_ID
from pipelines.lake.datasets import EVENTS, SNAPSHOTS
from pipelines.lake.lake import Lake
from pipelines.log.erased import is_erased
from pipelines.log.redaction import Redaction, redact_text, target_version
from pipelines.log.upcasters import load_upcasters

if TYPE_CHECKING:
    import duckdb

_READ = (
    "aggregate_type",
    "stream_version",
    "event_type",
    "event_version",
    "payload",
    "metadata",
    "created_at",
    "position",
    "digest",
)
_REDACTION = "redaction.applied."
_SMALL_GROUP = 2**24
"""Bytes of payloads of a row group that are not counted one by one."""
_TIMES = ("started_at", "ended_at", "last_at")


class MessageGoesOnError(RefoldError):
    """The first event after a snapshot goes on with a message that was open there: the fold must begin before it."""


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
        StreamTooLargeError: Its state would take more than the lake's memory bound; it says which would do.
    """
    with ExitStack() as opened:
        stretches = find_stretches(lake.files(EVENTS.name), possible_ids(stream), opened)
        only_stream(stream, {stretch.stream for stretch in stretches})
        until = Until(version, position, at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC))
        last = until.last_version(stretches)
        if not last:
            first = stretches[0].read(["stream_version", "position", "created_at"]).slice(0, 1).to_pylist()[0]
            raise BadInputError(
                f"stream {stream} had no event yet: its first is version {first['stream_version']} "
                f"at position {first['position']}, {as_time(first['created_at']):%Y-%m-%d %H:%M:%S} UTC"
            )
        payloads = sum(stretch.bytes("payload", _SMALL_GROUP) for stretch in stretches)
        refuse_large_state(stretches[0].stream, payloads, lake.memory_bytes)
        redactions = read_redactions(stretches)
        found = None
        if last >= lake.snapshot_events:
            found = _fold_from_snapshot(lake, stretches, redactions, last, opened)
        return found or fold_stream(read_events(stretches, redactions, 0, last))


def fold_stream(events: pa.Table, carry: Carry | None = None) -> dict[str, Any]:
    """The state of one stream after its events, or after where it stood and those since.

    Args:
        events: Columns of the dataset `events`, redactions applied, in order; at least one.
        carry: Where it stood; None: the events begin with its first.

    Raises:
        MessageGoesOnError: The first event goes on with a message that was open there: the fold must begin before it.
    """
    batch = stream_batch(events)
    if carry is not None:
        batch = batch.going_on_from(lambda _: carry)
        if len(continuing(place(batch)[0])):
            raise MessageGoesOnError
    folded, pieces = fold(batch), whole(batch)
    states = build_states(folded, pieces, count_states(folded, pieces))
    del events, batch, folded, pieces  # a long stream's texts are there once more in each
    row = plain(shown(states)).to_pylist()[0]
    row |= {name: as_time(row[name]) for name in _TIMES}
    for each in row["transcript"]:
        each["created_at"] = as_time(each["created_at"])
    return {"aggregate_type": states["aggregate_type"][0].as_py(), **row}


def stream_batch(events: pa.Table, *, with_models: bool = False) -> Batch:
    """The events of one stream as the fold takes them; as in `fold_stream`.

    Args:
        events: Columns of the dataset `events`, redactions applied, in order; at least one.
        with_models: Whether to read the payloads of model decisions.
    """
    with scratch() as connection:
        connection.register("fold_given", events)
        source = load_upcasters().query("fold_given")
        query = f"WITH fold_source AS ({source}) {columns_query(with_states=True, with_models=with_models)}"
        params = {"month": "", "low": "", "high": LAST_ID}
        return make_batch(with_values(connection.sql(query, params=params).to_arrow_table()), 1)


def find_stream(connection: duckdb.DuckDBPyConnection, stream: str) -> str:
    """Id of the stream that a person means by `stream`, an id or `source/conversation_id`.

    Args:
        connection: Has `stream_months`.
        stream: What was given.

    Raises:
        BadInputError: None or more than one stream of the lake is meant.
    """
    query = "SELECT DISTINCT aggregate_id FROM stream_months WHERE list_contains($candidates, aggregate_id) ORDER BY 1"
    found = connection.execute(query, {"candidates": possible_ids(stream)}).fetchall()
    return only_stream(stream, [str(row[0]) for row in found])


def possible_ids(stream: str) -> list[str]:
    """The ids that `stream` can mean. Both parts of a name may hold slashes, so every way to divide the text is tried."""
    with suppress(ValueError):
        return [str(UUID(stream))]
    from pipelines.store.events import stream_id  # noqa: PLC0415 -- importing the store takes longer than a state

    return [str(stream_id(stream[:cut], stream[cut + 1 :])) for cut in range(len(stream)) if stream[cut] == "/"]


def only_stream(stream: str, found: Collection[str]) -> str:
    """The one stream of those found for `stream`, as a person gave it.

    Raises:
        BadInputError: It is none or more than one.
    """
    if len(found) == 1:
        return next(iter(found))
    if found:
        raise BadInputError(
            f"{stream!r} is the name of {len(found)} streams; give one of their ids: {', '.join(sorted(found))}"
        )
    raise BadInputError(
        f"no stream {stream!r} in the lake; give a stream id or source/conversation_id, and export its month first"
    )


def _fold_from_snapshot(
    lake: Lake, stretches: Sequence[Stretch], redactions: Sequence[Row], last: int, opened: ExitStack
) -> dict[str, Any] | None:
    """The state at version `last`, from a snapshot; None if there is none that can be vouched for."""
    snapshots = _read_snapshots(lake, stretches[0].stream, opened)
    links = _read_links(stretches, {row["stream_version"] for row in snapshots})
    erased = _read_erased(stretches)
    until = last - 1  # at least one event is folded
    while True:
        snapshot = find_snapshot(snapshots, until, links, redactions, code_hash(lake.snapshot_events), erased)
        if snapshot is None:
            return None
        version = snapshot.row["stream_version"]
        try:
            return fold_stream(read_events(stretches, redactions, version, last), carry_of(snapshot))
        except MessageGoesOnError:
            until = version - 1


def carry_of(snapshot: Snapshot) -> Carry:
    """Where a stream stands at a snapshot."""
    standing = {name: snapshot.row[name] for name in STANDING.names}
    return Carry(
        pa.Table.from_pylist([standing], schema=STANDING), pa.Table.from_pylist([snapshot.lists], schema=LISTS)
    )


def read_events(stretches: Sequence[Stretch], redactions: Sequence[Row], after: int, last: int) -> pa.Table:
    """The events after a version up to another, redactions applied, in order."""
    tables = []
    for stretch in stretches:
        versions = numbers(stretch.read(["stream_version"])["stream_version"].combine_chunks())
        rows = np.flatnonzero((versions > after) & (versions <= last))
        if len(rows):
            read = stretch.read(_READ).slice(int(rows[0]), len(rows))
            tables.append(read.append_column("month", pa.repeat(stretch.month, len(rows))))
    events = pa.concat_tables(tables)
    if np.any(np.diff(numbers(events["stream_version"].combine_chunks())) <= 0):
        events = events.sort_by("stream_version")
    by_target: dict[int, list[Redaction]] = {}
    for each in redactions:
        if each["target_version"] is not None:
            by_target.setdefault(each["target_version"], []).append(Redaction.from_json(each["payload"]))
    if by_target:
        shown_payloads = [
            redact_text(payload, by_target[version])[0] if version in by_target and not digest else payload
            for version, payload, digest in zip(
                *(events[name].to_pylist() for name in ("stream_version", "payload", "digest")), strict=True
            )
        ]
        place_of = events.column_names.index("payload")
        events = events.set_column(place_of, "payload", pa.array(shown_payloads, pa.string()))
    stream = pa.repeat(stretches[0].stream, events.num_rows)
    created = events["created_at"].cast(pa.timestamp("us", tz="UTC"))
    return events.drop_columns("created_at").append_column("created_at", created).append_column("aggregate_id", stream)


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


def _read_erased(stretches: Sequence[Stretch]) -> list[int]:
    """The versions of the stream's erased events, ascending."""
    found: list[int] = []
    for stretch in stretches:
        rows = stretch.read(["stream_version", "digest"])
        is_gone = [bool(digest) for digest in rows["digest"].to_pylist()]
        found += numbers(rows["stream_version"].combine_chunks())[np.array(is_gone, np.bool_)].tolist()
    return sorted(found)


def read_redactions(stretches: Sequence[Stretch]) -> list[Row]:
    """The stream's redactions, payloads as text; what an erased one hid is not known."""
    found = []
    for stretch in stretches:
        rows = np.flatnonzero(_redactions_of(stretch.read(["event_type"])["event_type"]))
        if len(rows):
            read = stretch.read(["stream_version", "payload", "hash", "digest"])
            found += [read.slice(int(row), 1).to_pylist()[0] for row in rows]
    return [
        {**each, "target_version": target_version(json.loads(each["payload"]))} for each in found if not is_erased(each)
    ]


def _redactions_of(event_types: Column) -> npt.NDArray[np.bool_]:
    """Which events are redactions."""
    return np.array([kind.startswith(_REDACTION) for kind in event_types.to_pylist()], np.bool_)
