"""A stream that is larger than a batch, folded part after part: each goes on from where the one before ended.

A part ends where no message of the agent goes on. What a later part can still change is held back: tool calls from the
first that waits, and the lists of the stream's state, which are put together when the last part is folded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipelines.duck import quote_literal
from pipelines.fold.batch import Batch, Part, make_batch
from pipelines.fold.carry import Carry, no_lists
from pipelines.fold.columns import bools, one_array
from pipelines.fold.fold import Folded, place
from pipelines.fold.messages import START, continuing, goes_on_after, is_agent
from pipelines.fold.pieces import Pieces
from pipelines.fold.rows import RELATIONS
from pipelines.fold.schemas import STANDING
from pipelines.fold.shapes import STATE_LISTS
from pipelines.folds.pending import LongLists, PendingToolCalls, split_tool_calls
from pipelines.folds.plan import LAST_VERSION, Plan, RangeSize, Span
from pipelines.folds.reading import Reader
from pipelines.folds.resume import bring, is_resumed
from pipelines.lake.memory import give_back

_SOURCE = """
SELECT source
FROM (
    SELECT stream_version, json_transform(metadata, '{"source": "VARCHAR"}').source AS source
    FROM events
    WHERE aggregate_id = $stream AND month <= $month
) AS told
WHERE source IS NOT NULL
ORDER BY stream_version
LIMIT 1
"""


class LongStream:
    """One stream of the month, while it is folded.

    Args:
        plan: Of the month; what its streams go on from is planned, too.
        reader: Reads what happened before the month, if that is needed.
        first: The first range of the stream.
        first_no: The stream's number within the month.
        size: Of a batch.
        with_lists: Whether to bring along what states list.
        memory_bytes: Bound on the memory of the process.

    Attributes:
        released: After `carry`: the rows of tool calls that are final, in the place of the part's.
    """

    def __init__(
        self,
        plan: Plan,
        reader: Reader,
        first: Span,
        *,
        first_no: int,
        size: RangeSize,
        with_lists: bool,
        memory_bytes: int,
    ) -> None:
        self.released: pa.Table | None = None
        self._pending = PendingToolCalls()
        self._lists = LongLists(str(first.stream), memory_bytes)
        self._is_last = False
        self._plan = plan
        self._stream = str(first.stream)
        self._reader = reader
        self._first = first
        self._first_no = first_no
        self._size = size
        self._with_lists = with_lists
        self._is_resumed = is_resumed(plan, self._stream)
        self._told_later: list[str | None] = []
        self._rest: list[pa.Table] = []
        self._carry: Carry | None = None
        self._carried = Part(is_last=False, month_follows=False, source=None)

    def parts(self, span: Span, events: pa.Table) -> Iterator[Batch]:
        """The parts that end in the stream's next range; before the next is asked for, `carry` is told of each."""
        yield from self._parts(events, is_last=span.until == LAST_VERSION)

    def carry(self, folded: Folded, pieces: Pieces, counted: pa.Table, ends: pa.Table, lists_of: list[str]) -> pa.Table:
        """Go on from the end of a part.

        Args:
            folded: The part.
            pieces: Its pieces.
            counted: What was counted of them.
            ends: Where they end, see `build_snapshots`; with lists, if snapshots are made.
            lists_of: Types of streams of which states are wanted.

        Returns:
            The stream's state after its last part; without rows before.
        """
        last = ends.slice(ends.num_rows - 1)
        if not self._is_last:
            self._go_on(pieces, last)
        waiting = None if self._is_last else one_array(last["waiting"]).flatten().field("stream_version")
        asked, answered = split_tool_calls(folded, RELATIONS["tool_calls"](folded))
        self.released = self._pending.release(asked, answered, waiting[0].as_py() if waiting else None)
        is_wanted = folded.batch.types()[0].as_py() in lists_of
        if is_wanted:
            self._lists.add(folded, asked, answered)
        state = counted.slice(counted.num_rows - 1, int(self._is_last and is_wanted))
        if state.num_rows:
            give_back(self._plan.connection)
        lists = self._lists.build() if state.num_rows else no_lists(0)
        for name in STATE_LISTS:
            state = state.append_column(name, lists[name])
        return state

    def _go_on(self, pieces: Pieces, last: pa.Table) -> None:
        columns = last.select(STANDING.names)
        self._carry = Carry(columns.cast(STANDING), no_lists(1))
        if "lists_since" in last.column_names:
            is_complete = bool(pieces.is_complete[-1])
            since = last["stream_version" if is_complete else "lists_since"][0].as_py()
            unlisted = no_lists(1) if is_complete else last.select(list(STATE_LISTS))
            self._carried = replace(self._carried, unlisted=unlisted, since=since, reached=int(pieces.reached[0]))

    def _parts(self, events: pa.Table, *, is_last: bool) -> Iterator[Batch]:
        batch = make_batch(pa.concat_tables([*self._rest, events]), self._first_no)
        self._rest = [batch.events]
        carry = self._begin(batch) if self._carry is None else self._carry
        if carry is None:
            yield from self._from_the_first_event(is_last=is_last)
            return
        batch = replace(batch, carry=carry)
        rows = len(batch.owners) if is_last else _last_cut(batch)
        if not rows:
            return
        if self._carry is None:
            self._carry = carry
            self._lists.begin(carry.lists)
        part, rest = batch.cut(rows)
        self._rest = [rest]
        del batch, events
        self._is_last = is_last
        yield replace(part, part=self._part(part, rest))

    def _begin(self, batch: Batch) -> Carry | None:
        """What the stream brings along; None if it must be folded from an earlier event."""
        if self._plan.is_behind(self._stream):
            return None
        if not self._is_resumed:
            return Carry.nothing(1)
        carry = bring(self._plan, self._first, with_lists=self._with_lists).align(pa.array([self._stream]))
        return None if len(continuing(place(replace(batch, carry=carry))[0])) else carry

    def _from_the_first_event(self, *, is_last: bool) -> Iterator[Batch]:
        """Put what happened before the month before the events that are there."""
        (of_month,), self._rest = self._rest, []
        self._carry = Carry.nothing(1)
        until = self._first.after
        history = Span(self._first.low, self._first.high, until, self._first.stream, 0, until)
        for span in self._plan.versions(history, self._size):
            events = self._reader.history(span, f"SELECT {quote_literal(str(span.stream))}")
            yield from self._parts(events, is_last=False)
        yield from self._parts(of_month, is_last=is_last)

    def _part(self, part: Batch, rest: pa.Table) -> Part:
        """What the part must know of the others; the source, only if neither it nor what came before tells it."""
        is_in_month = bools(part.column("is_in_month"))[-1]
        follows = bool(rest.num_rows) and not is_in_month and rest["is_in_month"][0].as_py()
        is_told = not part.carry.column("source").null_count
        if not is_told and part.column("source").null_count == len(part.owners) and not self._told_later:
            params = {"stream": self._stream, "month": self._plan.month}
            told = self._plan.connection.execute(_SOURCE, params).fetchall()
            self._told_later = [row[0] for row in told] or [None]
        source = self._told_later[0] if self._told_later else None
        return replace(self._carried, is_last=self._is_last, month_follows=follows, source=source)


def _last_cut(batch: Batch) -> int:
    """How many events the next part has: up to the last one, but for the newest, after which no message can go on."""
    places, _ = place(batch)
    may_go_on = goes_on_after(places, batch.owners)
    placed = np.flatnonzero(places.roles != START)
    # after the last that has a place, nothing is known of the next
    last = places.rows[placed[-1]] if len(placed) else 0
    may_go_on[last:] = is_agent(places.roles[placed[-1:]]).any() if len(placed) else batch.carry.is_open().any()
    return int(np.flatnonzero(~may_go_on[:-1]).max(initial=-1)) + 1
