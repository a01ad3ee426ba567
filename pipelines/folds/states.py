"""The states of a batch's streams: what can be counted, what rare events say, and the lists of what was said and done.

The rows are those of `conversation_months` and `call_months`. Lists are cut out of columns that are in order already, so
nothing is grouped or sorted.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.folds.batch import Batch
from pipelines.folds.before import Before, lists_schema
from pipelines.folds.columns import Column, Ints, ends, ints, is_said, last_of, lists, offsets, one_array, take
from pipelines.folds.columns import compute as pc
from pipelines.folds.places import AGENT_SAID, RESULT, STARTED, USER_SAID
from pipelines.folds.relations import Folded
from pipelines.folds.sums import as_floats, sums
from pipelines.folds.tool_calls import Calls

_STARTED_FIELDS = ("agent", "variant", "task", "channel", "vertical")
_REDACTION_FIELDS = ("stream_version", "target_version", "path", "method", "reason")
_ROLES = pa.array(["user", "agent"])


def build_states(folded: Folded) -> pa.Table:
    """The relation `fold_states`: one row per stream of the batch, in order; costs exact, as decimals of 12 places."""
    batch = folded.batch
    columns = {
        "aggregate_id": batch.ids(),
        "aggregate_type": batch.types(),
        **{name: one_array(folded.sources[name]) for name in folded.sources.column_names},
        **_counted(folded),
        **_told(batch),
        **{name: _spent(batch, name) for name in ("input_tokens", "output_tokens", "cost_usd")},
        **{name: _joined(batch.before, name, new) for name, new in _lists(batch, folded.calls).items()},
    }
    columns["status"] = pc.if_else(pc.is_null(columns["ended_at"]), "open", "ended")
    lasted = ints(columns["last_at"]) - ints(columns["started_at"])
    columns["duration_seconds"] = pa.array(lasted / 1e6)
    return pa.table(columns)


def as_shown(states: pa.Table, stream_type: str) -> pa.Table:
    """The rows of `<stream_type>_months`: the states of the streams of one type, with costs as floats."""
    is_shown = pc.equal(states["aggregate_type"], stream_type)
    shown = states if pc.all(is_shown, min_count=0).as_py() else states.filter(is_shown)
    cost = as_floats(one_array(shown["cost_usd"]))
    names = [name for name in lists_schema().names if name != "month"]
    return shown.drop_columns("cost_usd").append_column("cost_usd", cost).select(names)


def _counted(folded: Folded) -> dict[str, Column]:
    """What can be counted of each stream, from its first event on; and where it begins and ends."""
    batch, places, calls, messages = folded.batch, folded.places, folded.calls, folded.messages
    before, count, kinds = batch.before, batch.streams, batch.kinds
    newest = ends(batch.starts, batch.events.num_rows)
    is_answered = calls.answers >= 0
    errors = calls.answered("error")
    is_failed = np.asarray(pc.fill_null(pc.not_equal(errors, "false"), fill_value=False), bool)
    said = np.flatnonzero(kinds == AGENT_SAID)
    said = said[is_said(take(batch.column("text"), said))]
    counted: dict[str, Ints] = {
        "event_count": batch.owners,
        "skipped_events": batch.owners[np.asarray(pc.is_null(batch.column("event_name")), bool)],
        "user_messages": places.streams[places.is_user_start],
        "turns": places.streams[places.is_turn_start],
        "agent_messages": messages.owners,
        "agent_text_messages": messages.owners[messages.has_text],
        "tool_call_count": calls.owners[calls.is_new],
        "tool_result_count": batch.owners[kinds == RESULT],
        "unanswered_tool_calls": calls.owners[calls.is_new],
        "failed_tool_calls": calls.owners[is_answered & is_failed],
        "redaction_count": batch.owners[_rows_of(batch, "redaction.applied")],
    }
    totals = {name: before.count(name) + np.bincount(owners, minlength=count) for name, owners in counted.items()}
    totals["unanswered_tool_calls"] -= np.bincount(calls.owners[is_answered], minlength=count)
    began = take(batch.column("created_at"), batch.starts)
    return {
        "started_at": pc.coalesce(before.column("started_at"), began),
        "last_at": take(batch.column("created_at"), newest),
        "last_version": take(batch.column("stream_version"), newest),
        "last_position": take(batch.column("position"), newest),
        **{name: pa.array(values, pa.int32()) for name, values in totals.items()},
        "final_text": pc.coalesce(
            take(batch.column("text"), last_of(batch.owners[said], said, count)), before.column("final_text")
        ),
    }


def _told(batch: Batch) -> dict[str, Column]:
    """What the last start and the last end of a stream say; without a new one, what was said before."""
    started = np.flatnonzero(batch.kinds == STARTED)
    starts = last_of(batch.owners[started], started, batch.streams)
    ended = _rows_of(batch, "conversation.ended")
    finals = last_of(batch.owners[ended], ended, batch.streams)
    chosen = {
        **{name: (name, starts) for name in _STARTED_FIELDS},
        "outcome": ("outcome", finals),
        "ended_at": ("created_at", finals),
    }
    return {
        name: pc.if_else(pa.array(rows >= 0), take(batch.column(column), rows), batch.before.column(name))
        for name, (column, rows) in chosen.items()
    }


def _spent(batch: Batch, name: str) -> Column:
    """Sum of a recorded number over the model calls of each stream, those before included; null where there is none."""
    columns, owners = [batch.column(name)], [batch.owners]
    brought = batch.before.column(name)
    if brought.null_count < len(brought):
        columns.append(brought)
        owners.append(np.arange(batch.streams))
    return sums(columns, owners, batch.streams)


def _lists(batch: Batch, calls: Calls) -> dict[str, Column]:
    """What was said, called and redacted in the batch."""
    redacted = _rows_of(batch, "redaction.applied")
    return {
        "transcript": _transcript(batch),
        "tool_calls": lists(
            calls.owners,
            batch.streams,
            [
                ("stream_version", calls.asked("stream_version")),
                ("actor", calls.actors()),
                *((name, calls.asked(name)) for name in ("call_id", "name", "arguments")),
                ("result_version", calls.answered("stream_version")),
                *((name, calls.answered(name)) for name in ("output", "error")),
            ],
        ),
        "redactions": lists(
            batch.owners[redacted],
            batch.streams,
            [(name, take(batch.column(name), redacted)) for name in _REDACTION_FIELDS],
        ),
    }


def _transcript(batch: Batch) -> Column:
    kinds = batch.kinds
    has_text = np.asarray(pc.is_valid(batch.column("text")), bool)
    rows = np.flatnonzero(has_text & ((kinds == USER_SAID) | (kinds == AGENT_SAID)))
    fields = [
        ("stream_version", take(batch.column("stream_version"), rows)),
        ("role", take(_ROLES, (kinds[rows] == AGENT_SAID).astype(np.int64))),
        ("text", take(batch.column("text"), rows)),
        ("created_at", take(batch.column("created_at"), rows)),
    ]
    return lists(batch.owners[rows], batch.streams, fields)


def _joined(before: Before, name: str, new: Column) -> Column:
    """The list that a stream brings along and the new rows after it; a row that is stated again takes the old one's place."""
    old = one_array(before.lists[name])
    if old.null_count == len(old):
        return new
    kind = lists_schema().field(name).type
    streams = len(new)
    rows = pa.concat_arrays([old.cast(kind).flatten(), new.cast(kind).flatten()])
    owners = np.concatenate((_owners(old), _owners(new)))
    versions = ints(rows.field("stream_version"))
    order = np.lexsort((versions, owners))
    same = (owners[order][1:] == owners[order][:-1]) & (versions[order][1:] == versions[order][:-1])
    kept = order[
        np.append(~same, True)[: len(order)]
    ]  # the sort keeps old before new, so the new row is the last of the same
    limits = pa.array(offsets(owners[kept], streams), pa.int32())
    return pa.ListArray.from_arrays(limits, take(rows, kept))


def _owners(column: Column) -> Ints:
    return np.repeat(np.arange(len(column)), ints(pc.fill_null(pc.list_value_length(column), 0)))


def _rows_of(batch: Batch, event_name: str) -> Ints:
    """The batch's events of a kind that has no place."""
    is_one = pc.fill_null(pc.equal(batch.column("event_name"), event_name), fill_value=False)
    return np.flatnonzero(np.asarray(is_one, bool))
