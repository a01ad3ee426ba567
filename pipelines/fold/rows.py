"""The rows of a folded batch that projections are made of: events, tool calls, the agent's messages and what they did.

What nobody reads is not made. Streams are numbered through the month in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.fold.batch import Batch
from pipelines.fold.columns import Bools, Column, Ints, bools, first_rows, lists, nullable, one_array, running, take
from pipelines.fold.fold import Folded, hidden_results
from pipelines.fold.messages import AGENT, ROLES
from pipelines.fold.tool_calls import ARGUMENTS

_ROLES = pa.array(ROLES, pa.string())


def _events(folded: Folded) -> pa.Table:
    """The relation `fold_events`: the events with what `places` says of them, null for events that have no place."""
    batch, places = folded.batch, folded.places
    is_placed = batch.kinds > 0

    def spread(values: Any, kind: pa.DataType) -> Column:
        every = np.zeros(len(is_placed), np.asarray(values).dtype)
        every[places.rows] = values
        return nullable(every, is_placed, kind)

    told = (
        "aggregate_type",
        "stream_version",
        "position",
        "created_at",
        "is_in_month",
        "event_name",
        "message_id",
        "is_erased",
    )
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
    """The relation `fold_tool_calls`."""
    batch, calls = folded.batch, folded.tool_calls
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
        "is_erased": pa.array(calls.is_erased()),
        "is_in_month": pa.array(calls.is_in_month()),
    }
    return pa.table(columns)


def _written(folded: Folded) -> pa.Table:
    """The relation `fold_messages`."""
    batch, places, messages = folded.batch, folded.places, folded.messages
    rows, finals = places.rows[messages.firsts], places.rows[messages.finals]
    hidden = hidden_results(batch, folded.tool_calls)
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
        "is_refusal": nullable(bools(take(batch.column("is_refusal"), messages.said)), ~messages.is_erased),
        "is_in_month": pa.array(_in_month(folded)),
        "decision": pa.array(messages.decisions, pa.int32()),
        "message_id": take(batch.column("message_id"), messages.named),
        "is_erased": pa.array(messages.is_erased),
        "is_context_erased": pa.array(_erased_before(batch)[rows] > 0),
        "text": take(batch.column("text"), messages.said),
        "clock": take(batch.column("time_source"), np.where(messages.models >= 0, messages.models, finals)),
        "has_nested_calls": _nesting(folded),
        "created_at": take(batch.column("created_at"), finals),
    }
    if "model" in batch.events.column_names:
        columns["model"] = take(batch.column("model"), messages.models)
    return pa.table(columns)


def _in_month(folded: Folded) -> Bools:
    """Which of the agent's messages end in the month."""
    return bools(folded.batch.column("is_in_month"))[folded.places.rows[folded.messages.finals]]


def _nesting(folded: Folded) -> Column:
    """Which of the agent's messages call a tool that calls tools; null where one of its events is erased."""
    batch, places, messages = folded.batch, folded.places, folded.messages
    nests = np.zeros(len(batch.kinds), bool)
    nests[places.rows] = bools(batch.column("has_nested_calls"))[places.rows] & (places.roles == AGENT)
    counted = np.append(0, np.cumsum(nests))
    found = counted[places.rows[messages.finals] + 1] > counted[places.rows[messages.firsts]]
    return nullable(found, ~messages.is_erased)


def _erased_before(batch: Batch) -> Ints:
    """For every event how many of its stream's before it are erased."""
    is_erased = bools(batch.column("is_erased"))
    counted: Ints = running(is_erased, first_rows(batch.owners)) - is_erased
    return counted + batch.carry.count("erased_events")[batch.owners]


def _actions(folded: Folded) -> pa.Table:
    """The relation `fold_actions`: what each decision of the month did that called a tool."""
    calls, messages = folded.tool_calls, folded.messages
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
    "tool_calls": _tool_calls,
    "messages": _written,
    "actions": _actions,
}
"""The relations `fold_<name>`, each made when a projection reads it."""
