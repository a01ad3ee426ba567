"""THE fold: a batch of streams, and where they stood before it, to what they say.

Everything else is made of what comes out: rows of projections (`rows`), states (`states`), snapshots (`snapshots`, `lists`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from pipelines.canonical.content import compacted_range
from pipelines.fold.batch import Batch
from pipelines.fold.columns import Column, Ints, bools, first_rows, ints, running, take
from pipelines.fold.columns import compute as pc
from pipelines.fold.messages import COMPACTED, Messages, Places, find_messages, find_places
from pipelines.fold.pairing import NOBODY
from pipelines.fold.tool_calls import ToolCalls, find_tool_calls


@dataclass(frozen=True, slots=True)
class Folded:
    """What a batch was folded to.

    Attributes:
        batch: The batch.
        places: Where its events stand.
        tool_calls: Its tool calls.
        messages: Its agent's messages.
        sources: Where each stream comes from.
    """

    batch: Batch
    places: Places
    tool_calls: ToolCalls
    messages: Messages
    sources: Column


def fold(batch: Batch) -> Folded:
    """Place the events, pair the tool calls, and find the agent's messages; the batch holds where its streams stood.

    How many messages a compaction takes out is known once those before it are counted, so such batches are folded twice.
    """
    folded = _fold(batch)
    if (batch.kinds == COMPACTED).any():
        folded = _fold(replace(batch, events=_with_ranges(folded)))
    return folded


def _with_ranges(folded: Folded) -> pa.Table:
    """The events; of compactions it is told by how many messages the context is longer after them, or shorter."""
    batch, places, messages = folded.batch, folded.places, folded.messages
    rendered = ints(batch.column("rendered")).copy()
    starts, ends = (pc.fill_null(batch.column(name), 0).to_pylist() for name in ("from_message", "to_message"))
    decided = batch.carry.count("agent_messages")
    hidden = hidden_results(batch, folded.tool_calls)
    begun = places.rows[messages.firsts]
    shifts: dict[int, int] = {}
    for place in np.flatnonzero(batch.kinds[places.rows] == COMPACTED):
        row, stream = int(places.rows[place]), int(places.streams[place])
        before = np.searchsorted(begun, row) - np.searchsorted(begun, batch.starts[stream])
        count = int(decided[stream] + before + places.inputs_before[place] - hidden[row] + shifts.get(stream, 0))
        said = {"from_message": starts[row], "to_message": ends[row]}
        first, last = compacted_range(said, count)
        shifts[stream] = shifts.get(stream, 0) - (last - first)
        rendered[row] -= last - first
    position = batch.events.column_names.index("rendered")
    return batch.events.set_column(position, "rendered", pa.array(rendered, batch.column("rendered").type))


def hidden_results(batch: Batch, calls: ToolCalls) -> Ints:
    """For every event how many results of the user's own calls came before it: the agent never sees them."""
    is_hidden = np.zeros(batch.events.num_rows, np.int64)
    is_hidden[calls.answers[calls.is_by_user & (calls.answers >= 0)]] = 1
    counted = running(is_hidden, first_rows(batch.owners)) - is_hidden
    return counted + batch.carry.count("hidden_results")[batch.owners]


def _fold(batch: Batch) -> Folded:
    places, waiting_messages = place(batch)
    calls = find_tool_calls(batch, places, waiting_messages)
    decided = batch.carry.count("agent_messages")
    is_erased = bools(batch.column("is_erased"))
    messages = find_messages(places, batch.kinds, batch.column("text"), is_erased, decided)
    return Folded(batch, places, calls, messages, _sources(batch))


def place(batch: Batch) -> tuple[Places, Ints]:
    """Where the events of a batch stand; and the numbers of the messages that asked for the calls that wait."""
    standing, messages, waiting_messages = batch.carry.standing(batch.column("message_id"))
    is_input = bools(batch.column("is_input"))
    is_by_user = bools(batch.column("is_by_user"))
    is_erased = bools(batch.column("is_erased"))
    rendered = ints(batch.column("rendered"))
    return (
        find_places(batch.owners, batch.kinds, messages, is_by_user, is_input, is_erased, rendered, standing),
        waiting_messages,
    )


def first_told(batch: Batch, name: str) -> Ints:
    """For each stream the first event row that says `name`; `NOBODY` for none."""
    values = batch.column(name)
    if not values.null_count or not len(values):
        return batch.starts
    is_given = np.asarray(pc.is_valid(values), bool)
    rows = np.minimum.reduceat(np.where(is_given, np.arange(len(values)), len(values)), batch.starts)
    return np.where(rows < len(values), rows, NOBODY)


def _sources(batch: Batch) -> Column:
    """Where each stream comes from, as told up to the month's end: in the batch, or in a later part."""
    told = pc.coalesce(batch.carry.column("source"), take(batch.column("source"), first_told(batch, "source")))
    return told if batch.part is None else pc.fill_null(told, pa.scalar(batch.part.source, pa.string()))
