"""Fold what is known of people: the relation `fold_customers`, for the customers whom a month touches.

A person's events are in any stream, so customers are not folded in batches of streams. When all that earlier months left
is current, the month's own events are enough; otherwise the whole history is read, and the rows are the same.
"""

from __future__ import annotations

import duckdb

from pipelines.duck import quote_literal, unless_none
from pipelines.lake.datasets.folds import CUSTOMER_MONTHS, CUSTOMER_SNAPSHOTS, SNAPSHOTS
from pipelines.log.upcasters import Upcasters
from pipelines.sqlfiles import read_expression, read_sql

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
    chosen = f"(SELECT * FROM masked_events WHERE {here} AND event_type IN ({types}))"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW fold_subject_told AS {upcasters.query(chosen)}")
    connection.execute(f"CREATE OR REPLACE TEMP VIEW fold_subject_events AS SELECT * FROM upcast_events WHERE {here}")
    for relation, without in (("fold_subject_streams", _NO_STREAMS), ("fold_subject_states", _NO_STATES)):
        if goes_on:
            query = read_sql(f"folds/steps/{relation.removeprefix('fold_')}.sql")
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {relation} AS {query}", {"month": month})
        else:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {relation} AS {without}")
    query = read_sql("folds/steps/customers.sql").replace("$opens_turn", read_expression("folds/steps/opens_turn.sql"))
    query = unless_none(connection, "FROM fold_subject_touched", query)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE fold_customers AS {query}")
