"""The relations that projections read, for a batch of whole streams: columns in, columns out, one pass for each rule.

A batch holds the events of some streams in order, or those since where the streams stood `before`. Streams are numbered
0 … n-1 here; the relations number them through the month.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.folds import pairing
from pipelines.folds.before import Before
from pipelines.folds.columns import (
    Bools,
    Column,
    Ints,
    bools,
    encode,
    ends,
    firsts,
    ints,
    last_of,
    lists,
    nullable,
    one_array,
    running,
    take,
)
from pipelines.folds.columns import (
    compute as pc,
)
from pipelines.folds.places import AGENT, AGENT_SAID, CALL, KINDS, RESULT, ROLES, USER, Places, find_places
from pipelines.folds.places import MODEL_CALL as MODEL_ROLE

_KINDS = pa.array(KINDS[1:], pa.string())
_ROLES = pa.array(ROLES, pa.string())
_SOURCES = ("source", "source_id", "source_ordinal", "subject_id")
_ASKED = ("stream_version", "position", "message_id", "call_id", "name", "arguments", "created_at")


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of some streams, read into columns.

    Attributes:
        events: In the order of stream and version; the columns that `sql/folds/steps/events.sql` gives.
        first_no: Number of the first stream within the month.
        before: What the streams bring along.
        streams: Number of streams.
        owners: Stream of each event, 0 … streams-1.
        kinds: Number of each event's kind, see `places.KINDS`.
    """

    events: pa.Table
    first_no: int
    before: Before
    streams: int
    owners: Ints
    kinds: Ints

    def going_on_from(self, bring: Callable[[pa.Table], Before]) -> Batch:
        """The same events of streams that bring something along."""
        return replace(self, before=bring(_streams(self)))


@dataclass(frozen=True, slots=True)
class Calls:
    """All calls that are asked in the batch or wait since before, in the order of stream and version.

    Attributes:
        table: The relation `fold_calls`.
        owners: Stream of each call.
        answers: Event row of the result, or `pairing.NOBODY`.
        hidden_by: Event row of the call that hides it, or `pairing.NOBODY`.
        is_new: Whether it was asked in the batch.
        is_by_user: Whether the user called.
    """

    table: pa.Table
    owners: Ints
    answers: Ints
    hidden_by: Ints
    is_new: Bools
    is_by_user: Bools


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


def make_batch(events: pa.Table, first_no: int) -> Batch:
    """Sort events, unless they are, and number their streams."""
    owners, is_sorted = _number_streams(events)
    if not is_sorted:
        events = events.sort_by([("aggregate_id", "ascending"), ("stream_version", "ascending")])
        owners, _ = _number_streams(events)
    streams = int(owners[-1]) + 1 if len(owners) else 0
    kinds = ints(pc.fill_null(pc.index_in(events["event_name"], _KINDS), -1)) + 1
    return Batch(events, first_no, Before.nothing(streams), streams, owners, kinds)


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


@dataclass(frozen=True, slots=True)
class Folded:
    """What a batch was folded to.

    Attributes:
        batch: The batch.
        places: Where its events stand.
        calls: Its tool calls.
        relations: Every relation but states and snapshots, by name.
    """

    batch: Batch
    places: Places
    calls: Calls
    relations: dict[str, pa.Table]


def build(batch: Batch) -> Folded:
    """Place the events, pair the calls, and make the relations that need no SQL."""
    events, owners = batch.events, batch.owners
    message_ids = one_array(events["message_id"])
    standing, messages, asked_messages = batch.before.standing(message_ids)
    has_text = np.asarray(pc.fill_null(pc.not_equal(events["text"], ""), fill_value=False), bool)
    is_by_user = bools(events["is_by_user"])
    places = find_places(owners, batch.kinds, messages, is_by_user, has_text, ints(events["rendered"]), standing)
    calls = _pair_calls(batch, places, asked_messages)
    written, owners_of_messages = _messages(batch, places, calls)
    named = {
        "fold_streams": _streams(batch),
        "fold_events": _placed_events(batch, places),
        "fold_sources": _sources(batch),
        "fold_calls": calls.table,
        "fold_messages": written,
        "fold_actions": _actions(calls, written, owners_of_messages),
    }
    named["fold_counted"] = _counted(batch, places, calls, written, owners_of_messages)
    return Folded(batch, places, calls, named)


def _streams(batch: Batch) -> pa.Table:
    rows = np.flatnonzero(firsts(batch.owners))
    return pa.table(
        {
            "stream_no": _stream_no(batch, np.arange(batch.streams)),
            "aggregate_id": take(batch.events["aggregate_id"], rows),
            "aggregate_type": take(batch.events["aggregate_type"], rows),
        }
    )


def _stream_no(batch: Batch, owners: Ints) -> Column:
    return pa.array(owners + batch.first_no, pa.int32())


def _placed_events(batch: Batch, places: Places) -> pa.Table:
    """The events with what `places` says of them; null for events that have no place."""
    count = batch.events.num_rows
    is_placed = batch.kinds > 0

    def spread(values: Any, kind: pa.DataType) -> Column:
        every = np.zeros(count, np.asarray(values).dtype)
        every[places.rows] = values
        return nullable(every, is_placed, kind)

    columns = {
        "stream_no": _stream_no(batch, batch.owners),
        **{name: batch.events[name] for name in batch.events.column_names},
        "role": take(_ROLES, spread(places.roles, pa.int64())),
        "is_turn_start": spread(places.is_turn_start, pa.bool_()),
        "is_user_message_start": spread(places.is_user_start, pa.bool_()),
        "group_no": spread(places.groups, pa.int32()),
        "turn": spread(places.turns, pa.int32()),
        "inputs_before": spread(places.inputs_before, pa.int32()),
    }
    return pa.table(columns)


def _sources(batch: Batch) -> pa.Table:
    """Where each stream comes from and whom it is about: the first event that says so decides."""
    starts = np.flatnonzero(firsts(batch.owners))
    columns: dict[str, Any] = {"stream_no": _stream_no(batch, np.arange(batch.streams))}
    for name in _SOURCES:
        values = one_array(batch.events[name])
        if values.null_count == 0:
            rows = starts
        else:
            is_given = np.asarray(pc.is_valid(values), bool)
            where = np.where(is_given, np.arange(len(values)), len(values))
            rows = np.minimum.reduceat(where, starts) if len(starts) else starts
            rows = np.where(rows < len(values), rows, -1)
        columns[name] = pc.coalesce(one_array(batch.before.columns[name]), take(values, rows))
    return pa.table(columns)


def _pair_calls(batch: Batch, places: Places, asked_messages: Ints) -> Calls:
    """Pair all calls and results; calls that wait since before come first in their stream."""
    waiting, waiting_streams = batch.before.waiting(), batch.before.waiting_streams()
    kinds = batch.kinds[places.rows]
    chosen = np.flatnonzero((kinds == CALL) | (kinds == RESULT))
    rows = places.rows[chosen]
    carried = len(waiting)
    by_user = np.concatenate((_equals(waiting.field("actor"), "user"), places.roles[chosen] == USER))
    groups = np.concatenate((ints(waiting.field("group_no")), places.groups[chosen]))
    messages = np.concatenate((asked_messages, places.messages[chosen]))
    ids = (waiting.field("call_id"), take(batch.events["call_id"], rows))
    streams = np.concatenate((waiting_streams, places.streams[chosen]))
    is_call = np.concatenate((np.ones(carried, bool), kinds[chosen] == CALL))
    paired = pairing.pair(
        streams,
        np.concatenate(encode(*(pc.fill_null(each, "") for each in ids))),
        np.where(by_user, 2 * messages + 1, 2 * groups),
        is_call,
    )
    order = np.argsort(streams[paired.calls], kind="stable")
    asked = paired.calls[order]
    event_rows = np.concatenate((np.full(carried, pairing.NOBODY), rows))

    def event_row(places_of: Ints) -> Ints:
        found = places_of[order]
        return np.where(found >= 0, event_rows[found], pairing.NOBODY)

    answers, hidden_by = event_row(paired.answers), event_row(paired.hidden_by)
    turns = np.concatenate((ints(waiting.field("turn")), places.turns[chosen]))
    both = {
        name: take(pa.concat_arrays([waiting.field(name), take(batch.events[name], rows)]), asked) for name in _ASKED
    }
    in_month = np.concatenate((np.zeros(carried, bool), bools(batch.events["is_in_month"])[rows]))
    answered = {name: take(batch.events[name], answers) for name in ("output", "error", "stream_version", "created_at")}
    is_in_month = in_month[asked] | ((answers >= 0) & bools(batch.events["is_in_month"])[answers])
    owners = streams[asked]
    is_by_user = by_user[asked]
    types = take(batch.events["aggregate_type"], np.flatnonzero(firsts(batch.owners))[owners])
    table = pa.table(
        {
            "stream_no": _stream_no(batch, owners),
            "stream_version": both["stream_version"],
            "aggregate_type": types,
            "position": both["position"],
            "message_id": both["message_id"],
            "group_no": pa.array(groups[asked], pa.int32()),
            "turn": pa.array(turns[asked], pa.int32()),
            "actor": take(pa.array(["agent", "user"]), is_by_user.astype(np.int64)),
            "call_id": both["call_id"],
            "name": both["name"],
            "arguments": both["arguments"],
            "result_version": answered["stream_version"],
            "output": answered["output"],
            "error": answered["error"],
            "created_at": both["created_at"],
            "answered_at": answered["created_at"],
            "is_in_month": pa.array(is_in_month),
        }
    )
    return Calls(table, owners, answers, hidden_by, asked >= carried, is_by_user)


def _equals(column: Column, text: str) -> Bools:
    return np.asarray(pc.fill_null(pc.equal(column, text), fill_value=False), bool)


def _messages(batch: Batch, places: Places, calls: Calls) -> tuple[pa.Table, Ints]:
    """The agent's messages, each of them one decision, with the model call that led to it; and the stream of each."""
    chosen = np.flatnonzero((places.roles == AGENT) | (places.roles == MODEL_ROLE))
    is_start = places.is_group_start[chosen]
    starts = np.flatnonzero(is_start)
    finals = ends(starts, len(chosen))
    here = np.arange(len(chosen))
    kinds = batch.kinds[places.rows[chosen]]

    def last(counts: Bools) -> Ints:
        return np.maximum.reduceat(np.where(counts, here, -1), starts) if len(starts) else starts

    is_message = last(places.roles[chosen] == AGENT) >= 0
    utterances, models = last(kinds == AGENT_SAID), last(places.roles[chosen] == MODEL_ROLE)
    kept = np.flatnonzero(is_message)
    first, final = chosen[starts[kept]], chosen[finals[kept]]
    streams = places.streams[first]
    decisions = running(np.ones(len(kept), np.int64), streams) + batch.before.count("agent_messages")[streams]
    rows = places.rows[first]
    hidden = _hidden_results(batch, calls)

    def event_of(found: Ints) -> Ints:
        within = found[kept]
        return np.where(within >= 0, places.rows[chosen[np.maximum(within, 0)]] if len(chosen) else within, -1)

    said = event_of(utterances)
    is_said = bools(batch.events["is_said"])
    versions = batch.events["stream_version"]
    table = pa.table(
        {
            "stream_no": _stream_no(batch, streams),
            "group_no": pa.array(places.groups[first], pa.int32()),
            "first_version": take(versions, rows),
            "last_version": take(versions, places.rows[final]),
            "utterance_version": take(versions, said),
            "model_version": take(versions, event_of(models)),
            "turn": pa.array(places.turns[final], pa.int32()),
            "inputs_before": pa.array(places.inputs_before[first] - hidden[rows], pa.int32()),
            "has_text": pa.array((said >= 0) & is_said[said]) if len(is_said) else pa.array([], pa.bool_()),
            "is_in_month": pa.array(bools(batch.events["is_in_month"])[places.rows[final]]),
            "decision": pa.array(decisions, pa.int32()),
            "message_id": take(batch.events["message_id"], places.rows[final]),
            "text": take(batch.events["text"], said),
            "created_at": take(batch.events["created_at"], places.rows[final]),
        }
    )
    return table, streams


def _hidden_results(batch: Batch, calls: Calls) -> Ints:
    """For every event how many results of the user's own calls came before it: the agent never sees them."""
    is_hidden = np.zeros(batch.events.num_rows, np.int64)
    is_hidden[calls.answers[calls.is_by_user & (calls.answers >= 0)]] = 1
    return running(is_hidden, batch.owners) - is_hidden + batch.before.count("hidden_results")[batch.owners]


def _actions(calls: Calls, written: pa.Table, message_streams: Ints) -> pa.Table:
    """What each decision did that called a tool; `signature` (names and arguments alone) tells equal lists of calls."""
    groups = ints(written["group_no"])
    width = int(max(groups.max(initial=0), ints(calls.table["group_no"]).max(initial=0))) + 1
    known = message_streams * width + groups
    wanted = calls.owners * width + ints(calls.table["group_no"])
    found = np.searchsorted(known, wanted)
    is_found = ~calls.is_by_user & (np.append(known, -1)[found] == wanted)
    chosen, owners = np.flatnonzero(is_found), found[is_found]
    acting = np.unique(owners)
    owners = np.searchsorted(acting, owners)
    fields = {name: take(calls.table[name], chosen) for name in ("stream_version", "call_id", "name", "arguments")}
    table = pa.table(
        {
            "stream_no": take(written["stream_no"], acting),
            "decision": take(written["decision"], acting),
            "tool_calls": lists(owners, len(acting), list(fields.items())),
            "signature": lists(owners, len(acting), [(name, fields[name]) for name in ("name", "arguments")]),
        }
    )
    return table.filter(take(written["is_in_month"], acting))


def _counted(batch: Batch, places: Places, calls: Calls, written: pa.Table, message_streams: Ints) -> pa.Table:
    """What can be counted of each stream, from its first event on."""
    before, events, count = batch.before, batch.events, batch.streams
    starts = np.flatnonzero(firsts(batch.owners))
    newest = ends(starts, events.num_rows)

    def total(name: str, owners: Ints) -> Column:
        return pa.array(before.count(name) + np.bincount(owners, minlength=count), pa.int32())

    kinds = batch.kinds
    error = one_array(calls.table["error"])
    is_failed = np.asarray(pc.fill_null(pc.not_equal(error, "false"), fill_value=False), bool)
    is_answered = calls.answers >= 0
    said = np.flatnonzero((kinds == AGENT_SAID) & bools(events["is_said"]))
    final = take(events["text"], last_of(batch.owners[said], said, count))
    unanswered = before.count("unanswered_tool_calls") + np.bincount(calls.owners[calls.is_new], minlength=count)
    unanswered -= np.bincount(calls.owners[is_answered], minlength=count)
    redactions = np.asarray(pc.fill_null(pc.equal(events["event_name"], "redaction.applied"), fill_value=False), bool)
    return pa.table(
        {
            "stream_no": _stream_no(batch, np.arange(count)),
            "started_at": pc.coalesce(one_array(before.columns["started_at"]), take(events["created_at"], starts)),
            "last_at": take(events["created_at"], newest),
            "last_version": take(events["stream_version"], newest),
            "last_position": take(events["position"], newest),
            "event_count": total("event_count", batch.owners),
            "skipped_events": total("skipped_events", batch.owners[_nulls(events["event_name"])]),
            "user_messages": total("user_messages", places.streams[places.is_user_start]),
            "turns": total("turns", places.streams[places.is_turn_start]),
            "agent_messages": total("agent_messages", message_streams),
            "agent_text_messages": total("agent_text_messages", message_streams[bools(written["has_text"])]),
            "tool_call_count": total("tool_call_count", calls.owners[calls.is_new]),
            "tool_result_count": total("tool_result_count", batch.owners[kinds == RESULT]),
            "unanswered_tool_calls": pa.array(unanswered, pa.int32()),
            "failed_tool_calls": total("failed_tool_calls", calls.owners[is_answered & is_failed]),
            "redaction_count": total("redaction_count", batch.owners[redactions]),
            "final_text": pc.coalesce(final, one_array(before.columns["final_text"])),
        }
    )


def _nulls(column: Column) -> Bools:
    return np.asarray(pc.is_null(column), bool)
