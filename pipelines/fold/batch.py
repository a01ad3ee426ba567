"""A batch of streams: their events as columns, in order, and where each stream begins.

Streams are numbered 0 … n-1 within the batch. They are whole, or the batch is a part of one stream. What is computed from a
batch is the business of others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from pipelines.fold.carry import Carry
from pipelines.fold.columns import Column, Ints, firsts, ints, one_array, take
from pipelines.fold.columns import compute as pc
from pipelines.fold.messages import KINDS

_KINDS = pa.array(KINDS[1:], pa.string())


@dataclass(frozen=True, slots=True)
class Part:
    """What a part of a stream must know of the others.

    Attributes:
        is_last: Whether it is the stream's last.
        month_follows: Whether the event after it is the first of the month.
        source: The stream's source, if a later part is the first to tell it.
        unlisted: One row: the lists of what no snapshot lists yet. None in the first part, which has what the stream brings.
        since: Version of the newest snapshot before it that has lists; 0 for none.
        reached: How many intervals had passed where the stream could last be cut; -1 before the month.
    """

    is_last: bool
    month_follows: bool
    source: str | None
    unlisted: pa.Table | None = None
    since: int = 0
    reached: int = -1


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of some streams, or those since where the streams stood.

    Attributes:
        events: In the order of stream and version, every column in one piece; see `sql/folds/steps/events.sql`.
        first_no: Number of the first stream within the month.
        carry: What the streams bring along.
        streams: Number of streams.
        owners: Stream of each event, 0 … streams-1.
        starts: First event of each stream.
        kinds: Number of each event's kind, see `messages.KINDS`.
        part: What else is known of the stream, if the batch is a part of one.
    """

    events: pa.Table
    first_no: int
    carry: Carry
    streams: int
    owners: Ints
    starts: Ints
    kinds: Ints
    part: Part | None = None

    def going_on_from(self, bring: Callable[[Column], Carry]) -> Batch:
        """The same events of streams that bring something along; `bring` is given the streams' ids."""
        return replace(self, carry=bring(self.ids()))

    def cut(self, row: int) -> tuple[Batch, pa.Table]:
        """Of a batch of one stream: the first `row` events, and the others."""
        shorter = replace(self, events=self.events.slice(0, row), owners=self.owners[:row], kinds=self.kinds[:row])
        return shorter, self.events.slice(row)

    def column(self, name: str) -> Column:
        """One value per event."""
        return one_array(self.events[name])

    def ids(self) -> Column:
        """The streams' ids."""
        return take(self.column("aggregate_id"), self.starts)

    def types(self) -> Column:
        """The streams' types."""
        return take(self.column("aggregate_type"), self.starts)

    def numbers(self, owners: Ints) -> Column:
        """The numbers, within the month, of the streams `owners`."""
        return pa.array(owners + self.first_no, pa.int32())


def make_batch(events: pa.Table, first_no: int) -> Batch:
    """Sort events, unless they are, and number their streams."""
    if events.num_rows and events.column(0).num_chunks > 1:
        events = events.combine_chunks()
    owners, is_sorted = _number_streams(events)
    if not is_sorted:
        events = events.sort_by([("aggregate_id", "ascending"), ("stream_version", "ascending")]).combine_chunks()
        owners, _ = _number_streams(events)
    starts = np.flatnonzero(firsts(owners))
    kinds = ints(pc.fill_null(pc.index_in(one_array(events["event_name"]), _KINDS), -1)) + 1
    return Batch(events, first_no, Carry.nothing(len(starts)), len(starts), owners, starts, kinds)


def overlay(events: pa.Table, others: pa.Table) -> pa.Table:
    """The events, with `others` in the place of those of the same stream and version."""
    if not others.num_rows:
        return events
    keys = ["aggregate_id", "stream_version"]
    replaced = others.select(keys).append_column("other", pa.array(range(others.num_rows), pa.int64()))
    here = events.select(keys).append_column("row", pa.array(range(events.num_rows), pa.int64()))
    found = here.join(replaced, keys, join_type="inner")
    rows = np.arange(events.num_rows)
    rows[ints(found["row"])] = events.num_rows + ints(found["other"])
    return pa.concat_tables([events, others]).take(rows)


def _number_streams(events: pa.Table) -> tuple[Ints, bool]:
    """A number for each event, one more wherever the id changes; and whether ids and versions ascend."""
    ids, versions = one_array(events["aggregate_id"]), ints(events["stream_version"])
    is_new = np.zeros(len(ids), bool)
    if len(ids) > 1:
        is_new[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    changes = np.flatnonzero(is_new)
    descends = pc.any(pc.less(take(ids, changes), take(ids, changes - 1)), min_count=0).as_py()
    repeats = bool(np.any(~is_new[1:] & (versions[1:] <= versions[:-1])))
    return np.cumsum(is_new), not (descends or repeats)
