"""The states of a batch's streams: what was counted, with the lists of what was said, called and redacted.

The rows are those of `conversation_months` and `call_months`. Lists are cut out of columns that are in order already, so
nothing is grouped or sorted.
"""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from pipelines.folds.before import Before, lists_schema
from pipelines.folds.columns import Column, Ints, firsts, ints, lists, offsets, one_array, take
from pipelines.folds.columns import compute as pc
from pipelines.folds.places import AGENT_SAID, USER_SAID
from pipelines.folds.relations import Batch, Folded
from pipelines.sqlfiles import read_sql

_CALL_FIELDS = ("stream_version", "actor", "call_id", "name", "arguments", "result_version", "output", "error")
_REDACTION_FIELDS = ("stream_version", "target_version", "path", "method", "reason")


def build_states(connection: duckdb.DuckDBPyConnection, folded: Folded) -> pa.Table:
    """The relation `fold_states`; reads the batch's other relations from the connection."""
    batch, calls = folded.batch, folded.calls
    scalars = connection.sql(read_sql("folds/steps/states.sql")).to_arrow_table()
    redactions = connection.sql(read_sql("folds/steps/redactions.sql")).to_arrow_table()
    owners = ints(redactions["stream_no"]) - batch.first_no
    found = {
        "transcript": _transcript(batch),
        "tool_calls": lists(
            calls.owners, batch.streams, [(name, one_array(calls.table[name])) for name in _CALL_FIELDS]
        ),
        "redactions": lists(owners, batch.streams, [(name, one_array(redactions[name])) for name in _REDACTION_FIELDS]),
    }
    starts = np.flatnonzero(firsts(batch.owners))
    columns = {
        "aggregate_id": take(batch.events["aggregate_id"], starts),
        "aggregate_type": take(batch.events["aggregate_type"], starts),
        **{name: scalars[name] for name in scalars.column_names},
        **{name: _joined(batch.before, name, new) for name, new in found.items()},
    }
    return pa.table(columns)


def _transcript(batch: Batch) -> Column:
    events, kinds = batch.events, batch.kinds
    has_text = np.asarray(pc.is_valid(events["text"]), bool)
    rows = np.flatnonzero(has_text & ((kinds == USER_SAID) | (kinds == AGENT_SAID)))
    fields = [
        ("stream_version", take(events["stream_version"], rows)),
        ("role", take(pa.array(["user", "agent"]), (kinds[rows] == AGENT_SAID).astype(np.int64))),
        ("text", take(events["text"], rows)),
        ("created_at", take(events["created_at"], rows)),
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
    ends = pa.array(offsets(owners[kept], streams), pa.int32())
    return pa.ListArray.from_arrays(ends, take(rows, kept))


def _owners(column: Column) -> Ints:
    return np.repeat(np.arange(len(column)), ints(pc.fill_null(pc.list_value_length(column), 0)))
