"""Fold what is known of people: the relation `fold_customers`, for the customers whom a month touches.

A person's events are in any stream, so customers are not folded in batches of streams. When all that earlier months left
is current, the month's own events are enough; otherwise the whole history is read, and the rows are the same.
"""

from __future__ import annotations

from collections import Counter

import duckdb
import numpy as np
import pyarrow as pa

from pipelines.duck import create_table, create_view, quote_literal, read_batches, unless_none
from pipelines.fold.carry import number_messages
from pipelines.fold.columns import Bools, Ints, bools
from pipelines.fold.columns import compute as pc
from pipelines.fold.messages import find_turns
from pipelines.folds.event_columns import find_inputs, read_with_content
from pipelines.lake.datasets.folds import CUSTOMER_MONTHS, CUSTOMER_SNAPSHOTS, SNAPSHOTS
from pipelines.log.upcasters import Upcasters
from pipelines.sqlfiles import read_sql

GOES_ON_FROM = (CUSTOMER_MONTHS.name, CUSTOMER_SNAPSHOTS.name, SNAPSHOTS.name)
"""The datasets whose earlier months a fold of customers can go on from."""

_TOLD = ("user.utterance", "model.decision", "row.changed")
"""The events whose payloads say something of a customer; the others' are not read."""

_TOUCHED = """
CREATE OR REPLACE TEMP TABLE fold_subject_touched AS
SELECT DISTINCT json_extract_string(metadata, '$.subject_id') AS subject_id
FROM events
WHERE month = $month AND json_extract_string(metadata, '$.subject_id') IS NOT NULL
"""
_BATCH = 100_000
"""Utterances that are looked at together."""
_NO_STREAMS = f"SELECT aggregate_id, said_in, subjects FROM ({SNAPSHOTS.typed_empty()})"
_NO_STATES = (
    "SELECT states.* REPLACE (snapshots.cost_usd AS cost_usd), snapshots.refunds "
    f"FROM ({CUSTOMER_MONTHS.typed_empty()}) AS states, ({CUSTOMER_SNAPSHOTS.typed_empty()}) AS snapshots"
)


def create_customers(connection: duckdb.DuckDBPyConnection, month: str, upcasters: Upcasters, *, goes_on: bool) -> None:
    """Create `fold_customers`: a row per touched customer, the columns of `customer_months` and `customer_snapshots`.

    Args:
        connection: Has `events`, `create_readable` has run on it, and it has `fold_heads`; and the relations of `GOES_ON_FROM`, if
            it goes on.
        month: YYYY-MM.
        upcasters: Known types and upcasters.
        goes_on: Whether all earlier months of those are what a fold would write today.
    """
    connection.execute(_TOUCHED, {"month": month})
    here = f"month {'=' if goes_on else '<='} {quote_literal(month)}"
    types = ", ".join(quote_literal(stored) for stored, name, _ in upcasters.known_types() if name in _TOLD)
    chosen = f"(SELECT * FROM masked_events WHERE {here} AND event_type IN ({types or 'NULL'}))"
    create_view(connection, "fold_subject_told", upcasters.query(chosen))
    events = f"(SELECT * EXCLUDE (payload) FROM events WHERE {here})"
    create_view(connection, "fold_subject_events", upcasters.named(events))
    for relation, without in (("fold_subject_streams", _NO_STREAMS), ("fold_subject_states", _NO_STATES)):
        if goes_on:
            query = read_sql(f"folds/steps/{relation.removeprefix('fold_')}.sql")
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {relation} AS {query}", {"month": month})
        else:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {relation} AS {without}")
    create_table(connection, "fold_subject_turns", _count_turns(connection))
    query = unless_none(connection, "FROM fold_subject_touched", read_sql("folds/steps/customers.sql"))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE fold_customers AS {query}")


def _count_turns(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """How many turns of the events each person began: `subject_id`, `turns`."""
    query = unless_none(
        connection, "FROM fold_subject_touched", read_with_content("folds/steps/subject_utterances.sql")
    )
    counts: Counter[str | None] = Counter()
    last: pa.Table | None = None
    for batch in read_batches(connection, query, None, _BATCH):
        # the last of those before goes first once more, to say in which message the user spoke; it is nobody's now
        said = pa.Table.from_batches([batch])
        said = said if last is None else pa.concat_tables([last, said]).combine_chunks()
        for person in pc.value_counts(said["subject_id"].filter(pa.array(_begin_turns(said)))).to_pylist():
            counts[person["values"]] += person["counts"]
        last = said.slice(said.num_rows - 1)
        last = last.set_column(last.column_names.index("subject_id"), "subject_id", pa.nulls(1, pa.string()))
    counts.pop(None, None)
    return pa.table(
        {"subject_id": pa.array(list(counts), pa.string()), "turns": pa.array(list(counts.values()), pa.int32())}
    )


def _begin_turns(said: pa.Table) -> Bools:
    """Which of the utterances, which are in the order of their streams, begin a turn."""
    ids = said["aggregate_id"]
    is_first = np.ones(len(ids), bool)
    is_first[1:] = bools(pc.not_equal(ids[1:], ids[:-1]))
    streams: Ints = np.cumsum(is_first, dtype=np.int64) - 1
    (said_in,), (messages,) = number_messages([said["said_in"]], [said["message_id"]])
    return find_turns(streams, messages, find_inputs(bools(said["has_text"]), said["content"]), said_in[is_first])
