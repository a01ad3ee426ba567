"""The states of a batch's streams: what can be counted, what rare events say, and the lists of what was said and done.

The rows are those of `conversation_months` and `call_months`. Lists are cut out of columns that are in order already, so
nothing is grouped or sorted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from pipelines.fold.batch import Batch
from pipelines.fold.columns import Bools, Column, Ints, bools, ints, is_said, lists, offsets, one_array, take
from pipelines.fold.columns import compute as pc
from pipelines.fold.fold import Folded, first_told
from pipelines.fold.messages import AGENT_SAID, REASONING, RESULT, STARTED, USER_SAID
from pipelines.fold.pairing import NOBODY
from pipelines.fold.pieces import Pieces
from pipelines.fold.schemas import LISTS
from pipelines.fold.shapes import FIDELITY, STATE_NAMES
from pipelines.fold.sums import as_floats, sums
from pipelines.fold.tool_calls import ToolCalls

_SOURCES = ("source", "source_id", "source_ordinal", "subject_id")
_STARTED_FIELDS = ("agent", "variant", "task", "channel", "vertical")
_FACTS = ("parent_id", "parent_call_id", "tags", "metadata", "fidelity")
_SUMS = ("input_tokens", "output_tokens", "cost_usd", "user_talk_ms", "agent_talk_ms", "reasoning_tokens")
_REDACTION_FIELDS = ("stream_version", "target_version", "path", "method", "reason")
_ROLES = pa.array(["user", "agent"])


def count_states(folded: Folded, pieces: Pieces) -> pa.Table:
    """What states say beside their lists, at the end of each piece; costs exact, as decimals of 12 places."""
    batch = folded.batch
    columns = {
        "aggregate_id": pieces.of_streams(batch.ids()),
        "aggregate_type": pieces.of_streams(batch.types()),
        **{name: _first_of(pieces, name) for name in _SOURCES},
        **_counted(folded, pieces),
        **_told(pieces),
        **{name: _spent(pieces, name) for name in _SUMS},
    }
    columns |= _fidelity(columns)
    columns["status"] = pc.if_else(pc.is_null(columns["ended_at"]), "open", "ended")
    lasted = ints(columns["last_at"]) - ints(columns["started_at"])
    columns["duration_seconds"] = pa.array(lasted / 1e6)
    return pa.table(columns)


def _fidelity(columns: Mapping[str, Column]) -> dict[str, Column]:
    """What the record of each stream lacks: what its start says, and what its events tell."""
    thought = pc.greater(pc.fill_null(columns["reasoning_tokens"], 0), 0)
    told = {
        "content_missing": pc.greater(columns["contents_missing"], 0),
        "history_compacted": pc.greater(columns["compactions"], 0),
        "reasoning_lost": pc.and_(thought, pc.equal(columns["reasonings"], 0)),
        "is_truncated": pc.greater(columns["truncations"], 0),
    }
    said = pc.fill_null(columns["fidelity"], "")
    found = {name: pc.match_substring(said, f'"{name}"') for name in FIDELITY}
    return {name: pc.or_(found[name], told[name]) if name in told else found[name] for name in FIDELITY}


def build_states(folded: Folded, pieces: Pieces, counted: pa.Table) -> pa.Table:
    """One row per stream of the batch, in order: what was counted at its end, and the lists of what it brought and did."""
    states = counted if pieces.is_whole else counted.take(pieces.finals())
    for name, new in new_lists(folded).items():
        states = states.append_column(name, joined(folded.batch.carry.lists[name], name, new))
    return states


def as_shown(states: pa.Table, stream_type: str) -> pa.Table:
    """The rows of `<stream_type>_months`: the states of the streams of one type, with costs as floats."""
    is_shown = pc.equal(states["aggregate_type"], stream_type)
    return shown(states if pc.all(is_shown, min_count=0).as_py() else states.filter(is_shown))


def shown(states: pa.Table) -> pa.Table:
    """States of streams of any type as they are shown: the columns of `STATE`, costs as floats."""
    cost = as_floats(one_array(states["cost_usd"]))
    return states.drop_columns("cost_usd").append_column("cost_usd", cost).select(list(STATE_NAMES))


def _first_of(pieces: Pieces, name: str) -> Column:
    """The first event that says so decides."""
    rows = first_told(pieces.batch, name)
    if not pieces.is_whole:
        rows = rows[pieces.streams]
        rows = np.where(rows <= pieces.lasts, rows, NOBODY)
    return pc.coalesce(pieces.carried(name), take(pieces.batch.column(name), rows))


def _counted(folded: Folded, pieces: Pieces) -> dict[str, Column]:
    """What can be counted of each stream, from its first event on; and where it begins and ends."""
    batch, places, calls, messages = folded.batch, folded.places, folded.tool_calls, folded.messages
    kinds, newest = batch.kinds, pieces.lasts
    is_erased = bools(batch.column("is_erased"))
    answers = calls.answers[calls.answers != NOBODY]
    errors = calls.answered("error")
    is_failed = np.asarray(pc.fill_null(pc.not_equal(errors, "false"), fill_value=False), bool)
    said = np.flatnonzero(kinds == AGENT_SAID)
    said = said[is_said(take(batch.column("text"), said))]
    written = places.rows[messages.firsts]
    asked = calls.event_rows()[calls.is_new]
    counted: dict[str, Ints] = {
        "event_count": pieces.count(np.arange(len(kinds))),
        "skipped_events": pieces.count(
            np.flatnonzero(np.asarray(pc.is_null(batch.column("event_name")), bool) & ~is_erased)
        ),
        "erased_events": pieces.count(np.flatnonzero(is_erased)),
        "user_messages": pieces.count(places.rows[places.is_user_start]),
        "turns": pieces.count(places.rows[places.is_turn_start]),
        "agent_messages": pieces.count(written),
        "agent_text_messages": pieces.count(written[messages.has_text]),
        "tool_call_count": pieces.count(asked),
        "tool_result_count": pieces.count(np.flatnonzero(kinds == RESULT)),
        "unanswered_tool_calls": pieces.count(asked) - pieces.count(answers),
        "failed_tool_calls": pieces.count(calls.answers[is_failed]),
        "redaction_count": pieces.count(_rows_of(batch, "redaction.applied")),
        "reasonings": pieces.count(np.flatnonzero((kinds == REASONING) & ~is_erased)),
        **{
            name: pieces.count(np.flatnonzero(bools(batch.column(column))))
            for name, column in (
                ("interruptions", "is_interrupted"),
                ("contents_missing", "is_content_missing"),
                ("compactions", "is_compacted"),
                ("truncations", "is_truncated"),
            )
        },
    }
    began = pieces.of_streams(take(batch.column("created_at"), batch.starts))
    return {
        "started_at": pc.coalesce(pieces.carried("started_at"), began),
        "last_at": take(batch.column("created_at"), newest),
        "last_version": take(batch.column("stream_version"), newest),
        "last_position": take(batch.column("position"), newest),
        **{name: pieces.total(name, values) for name, values in counted.items()},
        "final_text": pc.coalesce(take(batch.column("text"), pieces.newest(said)), pieces.carried("final_text")),
    }


def _told(pieces: Pieces) -> dict[str, Column]:
    """What the last start and the last end of a stream say; without a new one, what was said before."""
    batch = pieces.batch
    starts = pieces.newest(np.flatnonzero(batch.kinds == STARTED))
    finals = pieces.newest(_rows_of(batch, "conversation.ended"))
    chosen = {
        **{name: (name, starts) for name in (*_STARTED_FIELDS, *_FACTS)},
        "outcome": ("outcome", finals),
        "ended_reason": ("reason", finals),
        "ended_at": ("created_at", finals),
    }
    return {
        name: pc.if_else(pa.array(rows >= 0), take(batch.column(column), rows), pieces.carried(name))
        for name, (column, rows) in chosen.items()
    }


def _spent(pieces: Pieces, name: str) -> Column:
    """Sum of a recorded number over the model calls of each stream, those before included; null where there is none."""
    columns, owners = [pieces.batch.column(name)], [pieces.owners]
    brought = pieces.batch.carry.column(name)
    if brought.null_count < len(brought):
        columns.append(brought)
        owners.append(pieces.begins())
    return sums(columns, owners, len(pieces.streams), None if pieces.is_whole else pieces.first)


def new_lists(folded: Folded) -> dict[str, Column]:
    """What was said, called and redacted in the batch, for each of its streams."""
    batch, calls = folded.batch, folded.tool_calls
    fields = tool_call_fields(calls, np.arange(len(calls.owners)), calls.answers)
    return {
        "transcript": transcript(batch, batch.owners, batch.streams),
        "tool_calls": lists(calls.owners, batch.streams, fields),
        "redactions": redactions(batch, batch.owners, batch.streams),
    }


def tool_call_fields(calls: ToolCalls, which: Ints, answers: Ints) -> list[tuple[str, Column]]:
    """The fields of some calls in lists; `answers` has the event row of the result that each is shown with, or `NOBODY`."""
    return [
        ("stream_version", calls.asked("stream_version", which)),
        ("actor", take(calls.actors(), which)),
        *((name, calls.asked(name, which)) for name in ("call_id", "name", "arguments")),
        ("result_version", calls.answered("stream_version", answers)),
        *((name, calls.answered(name, answers)) for name in ("output", "error")),
    ]


def redactions(batch: Batch, owners: Ints, count: int) -> Column:
    """The redactions applied, for each of the owners 0 … count-1 of the batch's events."""
    rows = _rows_of(batch, "redaction.applied")
    return lists(owners[rows], count, [(name, take(batch.column(name), rows)) for name in _REDACTION_FIELDS])


def transcript(batch: Batch, owners: Ints, count: int, which: Bools | bool = True) -> Column:
    """What was said in those of the batch's events that count, for each of their owners 0 … count-1."""
    kinds = batch.kinds
    has_text = np.asarray(pc.is_valid(batch.column("text")), bool)
    rows = np.flatnonzero(which & has_text & ((kinds == USER_SAID) | (kinds == AGENT_SAID)))
    fields = [
        ("stream_version", take(batch.column("stream_version"), rows)),
        ("role", take(_ROLES, (kinds[rows] == AGENT_SAID).astype(np.int64))),
        ("text", take(batch.column("text"), rows)),
        ("created_at", take(batch.column("created_at"), rows)),
    ]
    return lists(owners[rows], count, fields)


def joined(before: Column, name: str, new: Column) -> Column:
    """The lists that streams bring along and the new rows after them; a row that is stated again takes the old one's place."""
    old = one_array(before)
    if old.null_count == len(old):
        return new
    kind = LISTS.field(name).type
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
