"""The relations that projections read, for a batch of streams: columns in, columns out, one pass for each rule.

What a projection does not read is not made. Streams are numbered through the month in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.folds.batch import Batch
from pipelines.folds.columns import (
    Bools,
    Column,
    Ints,
    bools,
    ends,
    first_rows,
    ints,
    is_said,
    lists,
    nullable,
    one_array,
    running,
    take,
)
from pipelines.folds.columns import compute as pc
from pipelines.folds.pairing import NOBODY
from pipelines.folds.places import AGENT, AGENT_SAID, ROLES, Places, find_places
from pipelines.folds.places import MODEL_CALL as MODEL_ROLE
from pipelines.folds.tool_calls import ARGUMENTS, Calls, find_calls

_ROLES = pa.array(ROLES, pa.string())


@dataclass(frozen=True, slots=True)
class Messages:
    """The agent's messages, each of them one decision, in order; one value per message.

    Attributes:
        owners: Stream.
        firsts: Place (among `Places`) of the first event.
        finals: Place of the last event.
        said: Event row of the last utterance, `NOBODY` without one.
        models: Event row of the model call that led to it, `NOBODY` without one.
        has_text: Whether that utterance has text that is not blank.
        decisions: Number of the message in its stream, from 1.
    """

    owners: Ints
    firsts: Ints
    finals: Ints
    said: Ints
    models: Ints
    has_text: Bools
    decisions: Ints


@dataclass(frozen=True, slots=True)
class Folded:
    """What a batch was folded to.

    Attributes:
        batch: The batch.
        places: Where its events stand.
        calls: Its tool calls.
        messages: Its agent's messages.
        sources: Where each stream comes from.
    """

    batch: Batch
    places: Places
    calls: Calls
    messages: Messages
    sources: Column


def build(batch: Batch) -> Folded:
    """Place the events, pair the calls, and find the agent's messages."""
    standing, messages, asked_messages = batch.before.standing(batch.column("message_id"))
    opens_turn = bools(batch.column("opens_turn"))
    is_by_user = bools(batch.column("is_by_user"))
    rendered = ints(batch.column("rendered"))
    places = find_places(batch.owners, batch.kinds, messages, is_by_user, opens_turn, rendered, standing)
    calls = find_calls(batch, places, asked_messages)
    return Folded(batch, places, calls, _find_messages(batch, places), _sources(batch))


def _find_messages(batch: Batch, places: Places) -> Messages:
    chosen = np.flatnonzero((places.roles == AGENT) | (places.roles == MODEL_ROLE))
    starts = np.flatnonzero(places.is_group_start[chosen])
    finals = ends(starts, len(chosen))
    here = np.arange(len(chosen))
    kinds = batch.kinds[places.rows[chosen]]

    def last(counts: Bools) -> Ints:
        return np.maximum.reduceat(np.where(counts, here, -1), starts) if len(starts) else starts

    kept = np.flatnonzero(last(places.roles[chosen] == AGENT) >= 0)
    event_rows = np.append(places.rows[chosen], NOBODY)
    said = event_rows[last(kinds == AGENT_SAID)[kept]]
    firsts = chosen[starts[kept]]
    owners = places.streams[firsts]
    return Messages(
        owners=owners,
        firsts=firsts,
        finals=chosen[finals[kept]],
        said=said,
        models=event_rows[last(places.roles[chosen] == MODEL_ROLE)[kept]],
        has_text=is_said(take(batch.column("text"), said)),
        decisions=running(np.ones(len(kept), np.int64), first_rows(owners))
        + batch.before.count("agent_messages")[owners],
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
    told = pc.coalesce(batch.before.column("source"), take(batch.column("source"), first_told(batch, "source")))
    return told if batch.part is None else pc.fill_null(told, pa.scalar(batch.part.source, pa.string()))


def _events(folded: Folded) -> pa.Table:
    """The relation `fold_events`: the events with what `places` says of them, null for events that have no place."""
    batch, places = folded.batch, folded.places
    is_placed = batch.kinds > 0

    def spread(values: Any, kind: pa.DataType) -> Column:
        every = np.zeros(len(is_placed), np.asarray(values).dtype)
        every[places.rows] = values
        return nullable(every, is_placed, kind)

    told = ("aggregate_type", "stream_version", "position", "created_at", "is_in_month", "event_name", "message_id")
    columns = {
        **_of_streams(folded, batch.owners),
        **{name: batch.column(name) for name in (*told, "text", "model") if name in batch.events.column_names},
        "role": take(_ROLES, spread(places.roles, pa.int64())),
        "is_turn_start": spread(places.is_turn_start, pa.bool_()),
        "is_user_message_start": spread(places.is_user_start, pa.bool_()),
        "group_no": spread(places.groups, pa.int32()),
        "turn": spread(places.turns, pa.int32()),
        "inputs_before": spread(places.inputs_before, pa.int32()),
    }
    return pa.table(columns)


def _of_streams(folded: Folded, owners: Ints) -> dict[str, Column]:
    """What every row says of its stream; texts once for each stream."""
    batch = folded.batch
    place = pa.array(owners, pa.int32())
    return {
        "stream_no": batch.numbers(owners),
        "aggregate_id": pa.DictionaryArray.from_arrays(place, batch.ids()),
        "source": pa.DictionaryArray.from_arrays(place, one_array(folded.sources)),
    }


def _tool_calls(folded: Folded) -> pa.Table:
    """The relation `fold_calls`."""
    batch, calls = folded.batch, folded.calls
    asked = (
        "stream_version",
        "position",
        "message_id",
        "call_id",
        "name",
        "arguments",
        "is_invalid_json",
        "created_at",
    )
    place = pa.array(calls.owners, pa.int32())
    columns = {
        **_of_streams(folded, calls.owners),
        "aggregate_type": pa.DictionaryArray.from_arrays(place, batch.types()),
        **{name: calls.asked(name) for name in asked},
        "group_no": pa.array(calls.groups, pa.int32()),
        "turn": pa.array(calls.turns, pa.int32()),
        "actor": calls.actors(),
        "result_version": calls.answered("stream_version"),
        "output": calls.answered("output"),
        "error": calls.answered("error"),
        "answered_at": calls.answered("created_at"),
        "is_in_month": pa.array(calls.is_in_month()),
    }
    return pa.table(columns)


def _written(folded: Folded) -> pa.Table:
    """The relation `fold_messages`."""
    batch, places, messages = folded.batch, folded.places, folded.messages
    rows, finals = places.rows[messages.firsts], places.rows[messages.finals]
    hidden = _hidden_results(batch, folded.calls)
    versions = batch.column("stream_version")
    place = pa.array(messages.owners, pa.int32())
    columns = {
        **_of_streams(folded, messages.owners),
        "aggregate_type": pa.DictionaryArray.from_arrays(place, batch.types()),
        "group_no": pa.array(places.groups[messages.firsts], pa.int32()),
        "first_version": take(versions, rows),
        "last_version": take(versions, finals),
        "utterance_version": take(versions, messages.said),
        "model_version": take(versions, messages.models),
        "turn": pa.array(places.turns[messages.finals], pa.int32()),
        "inputs_before": pa.array(places.inputs_before[messages.firsts] - hidden[rows], pa.int32()),
        "has_text": pa.array(messages.has_text),
        "is_refusal": pc.fill_null(take(batch.column("is_refusal"), messages.said), fill_value=False),
        "is_in_month": pa.array(_in_month(folded)),
        "decision": pa.array(messages.decisions, pa.int32()),
        "message_id": take(batch.column("message_id"), finals),
        "text": take(batch.column("text"), messages.said),
        "created_at": take(batch.column("created_at"), finals),
    }
    if "model" in batch.events.column_names:
        columns["model"] = take(batch.column("model"), messages.models)
    return pa.table(columns)


def _in_month(folded: Folded) -> Bools:
    """Which of the agent's messages end in the month."""
    return bools(folded.batch.column("is_in_month"))[folded.places.rows[folded.messages.finals]]


def _hidden_results(batch: Batch, calls: Calls) -> Ints:
    """For every event how many results of the user's own calls came before it: the agent never sees them."""
    is_hidden = np.zeros(batch.events.num_rows, np.int64)
    is_hidden[calls.answers[calls.is_by_user & (calls.answers >= 0)]] = 1
    counted = running(is_hidden, first_rows(batch.owners)) - is_hidden
    return counted + batch.before.count("hidden_results")[batch.owners]


def _actions(folded: Folded) -> pa.Table:
    """The relation `fold_actions`: what each decision of the month did that called a tool."""
    calls, messages = folded.calls, folded.messages
    groups = folded.places.groups[messages.firsts]
    width = int(max(groups.max(initial=0), calls.groups.max(initial=0))) + 1
    known = messages.owners * width + groups
    wanted = calls.owners * width + calls.groups
    found = np.searchsorted(known, wanted)
    is_found = ~calls.is_by_user & (np.append(known, -1)[found] == wanted) & np.append(_in_month(folded), False)[found]
    chosen, owners = np.flatnonzero(is_found), found[is_found]
    acting = np.unique(owners)
    owners = np.searchsorted(acting, owners)
    fields = {name: calls.asked(name, chosen) for name in ("stream_version", "call_id", "name", *ARGUMENTS)}
    return pa.table(
        {
            "stream_no": folded.batch.numbers(messages.owners[acting]),
            "decision": pa.array(messages.decisions[acting], pa.int32()),
            "tool_calls": lists(owners, len(acting), list(fields.items())),
        }
    )


RELATIONS: dict[str, Callable[[Folded], pa.Table]] = {
    "events": _events,
    "calls": _tool_calls,
    "messages": _written,
    "actions": _actions,
}
"""The relations `fold_<name>`, each made when a projection reads it."""
