"""The tool calls of a batch and their results: those asked in it, and those that wait since before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.fold import pairing
from pipelines.fold.batch import Batch
from pipelines.fold.columns import Bools, Column, Ints, bools, encode, ints, one_array, take
from pipelines.fold.columns import compute as pc
from pipelines.fold.messages import CALL, RESULT, USER, Places

_NULL = "null"
"""JSON text of what was not said."""
ARGUMENTS = ("arguments", "recorded", "is_invalid_json")
"""What is said of a call's arguments: the value, the recorded text where it is another, and whether it holds no JSON."""

_ACTORS = pa.array(["agent", "user"])


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """Tool calls in the order of stream and version; one value per call.

    Attributes:
        batch: Where they are.
        owners: Stream.
        rows: Row among the calls that wait since before, followed by the batch's events.
        groups: Number of the agent's message that it is in or after.
        turns: Turns so far.
        answers: Event row of the result, or `pairing.NOBODY`.
        hidden_by: Event row of the call that hides it, or `pairing.NOBODY`.
        is_new: Whether it was asked in the batch.
        is_by_user: Whether the user called.
    """

    batch: Batch
    owners: Ints
    rows: Ints
    groups: Ints
    turns: Ints
    answers: Ints
    hidden_by: Ints
    is_new: Bools
    is_by_user: Bools

    def asked(self, name: str, which: Ints | None = None) -> Column:
        """A column of the calls' own events, of all or of some calls."""
        values, waiting = self.batch.column(name), self.batch.carry.waiting()
        if len(waiting):
            values = pa.concat_arrays([waiting.field(name).cast(values.type), values])
        return take(values, self.rows if which is None else self.rows[which])

    def answered(self, name: str, answers: Ints | None = None) -> Column:
        """A column of their results' events, or of those in the event rows `answers`; null without a result."""
        rows = self.answers if answers is None else answers
        found = take(self.batch.column(name), rows)
        if name == "output" and found.null_count:
            is_told = pa.array((rows >= 0) & ~self._is_erased(rows))
            return pc.if_else(is_told, pc.fill_null(found, _NULL), found)
        return found

    def actors(self) -> Column:
        """Who called: agent or user; null where that is erased."""
        return take(_ACTORS, np.where(bools(self.asked("is_erased")), pairing.NOBODY, self.is_by_user))

    def is_erased(self) -> Bools:
        """Of which calls the call or the result is erased."""
        found: Bools = bools(self.asked("is_erased")) | self._is_erased(self.answers)
        return found

    def _is_erased(self, rows: Ints) -> Bools:
        """Which event rows are erased; `pairing.NOBODY` is not."""
        found: Bools = np.append(bools(self.batch.column("is_erased")), False)[rows]
        return found

    def event_rows(self) -> Ints:
        """The event row of each call; `pairing.NOBODY` for those that wait since before."""
        rows: Ints = np.maximum(self.rows - len(self.batch.carry.waiting()), pairing.NOBODY)
        return rows

    def over(self) -> Ints:
        """The event row after which no result can answer the call any more; `pairing.NOBODY` if one still can."""
        return np.where(self.answers != pairing.NOBODY, self.answers, self.hidden_by)

    def is_in_month(self) -> Bools:
        """Which calls were asked or answered in the month."""
        in_month = bools(self.batch.column("is_in_month"))
        is_asked: Bools = self.is_new & np.append(in_month, False)[self.event_rows()]
        is_asked |= np.append(in_month, False)[self.answers]
        return is_asked


def find_tool_calls(batch: Batch, places: Places, asked_messages: Ints) -> ToolCalls:
    """Pair all calls and results; calls that wait since before come first in their stream."""
    waiting, waiting_streams = batch.carry.waiting(), batch.carry.waiting_streams()
    kinds = batch.kinds[places.rows]
    chosen = np.flatnonzero((kinds == CALL) | (kinds == RESULT))
    rows = places.rows[chosen]
    carried = len(waiting)
    by_user = np.concatenate((_is_user(waiting.field("actor")), places.roles[chosen] == USER))
    groups = np.concatenate((ints(waiting.field("group_no")), places.groups[chosen]))
    turns = np.concatenate((ints(waiting.field("turn")), places.turns[chosen]))
    messages = np.concatenate((asked_messages, places.messages[chosen]))
    ids = (_call_ids(waiting.field), _call_ids(lambda name: take(batch.column(name), rows)))
    streams = np.concatenate((waiting_streams, places.streams[chosen]))
    is_call = np.concatenate((np.ones(carried, bool), kinds[chosen] == CALL))
    paired = pairing.pair(
        streams,
        np.concatenate(encode(*ids)),
        np.where(by_user, 2 * messages + 1, 2 * groups),
        is_call,
    )
    order = np.argsort(streams[paired.calls], kind="stable")
    asked = paired.calls[order]
    event_rows = np.concatenate((np.full(carried, pairing.NOBODY), rows))

    def event_row(places_of: Ints) -> Ints:
        found = places_of[order]
        return np.where(found >= 0, event_rows[found], pairing.NOBODY)

    return ToolCalls(
        batch=batch,
        owners=streams[asked],
        rows=np.concatenate((np.arange(carried), rows + carried))[asked],
        groups=groups[asked],
        turns=turns[asked],
        answers=event_row(paired.answers),
        hidden_by=event_row(paired.hidden_by),
        is_new=asked >= carried,
        is_by_user=by_user[asked],
    )


def _call_ids(column: Callable[[str], Column]) -> Column:
    """The ids of calls or results; null for erased ones, which find each other and nobody else."""
    ids = pc.fill_null(column("call_id"), "")
    is_erased = column("is_erased")
    return pc.if_else(pc.fill_null(is_erased, fill_value=False), pa.scalar(None, ids.type), ids)


def _is_user(actors: Column) -> Bools:
    return np.asarray(pc.fill_null(pc.equal(one_array(actors), "user"), fill_value=False), bool)
