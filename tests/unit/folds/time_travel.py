"""A log with its monthly states and the macros of time travel, and what the plain left fold says at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.folds import reference
from pipelines.folds.redacted import compute_redacted
from pipelines.folds.reference_folds import StreamFold, SubjectFold
from pipelines.lake.as_of import list_macros
from pipelines.lake.datasets import (
    CALL_MONTHS,
    CONVERSATION_MONTHS,
    CUSTOMER_MONTHS,
    CUSTOMER_SNAPSHOTS,
    REDACTED_EVENTS,
    SNAPSHOTS,
)
from pipelines.lake.ladder import load_ladder
from pipelines.lake.readable import readable_query
from pipelines.settings import SNAPSHOT_EVENTS
from tests.unit.folds.equality import comparable, connect, create_events, fold_with_sql, rows_of

Log = list[dict[str, Any]]
STATES = (CONVERSATION_MONTHS, CALL_MONTHS, CUSTOMER_MONTHS)
_FOLDED = (*STATES, SNAPSHOTS, CUSTOMER_SNAPSHOTS)
HEADS = """
CREATE OR REPLACE TABLE stream_months AS
SELECT
    month, aggregate_id, any_value(aggregate_type) AS aggregate_type, min(stream_version) AS first_version,
    max(stream_version) AS last_version, arg_max(hash, stream_version) AS last_hash
FROM events GROUP BY ALL
"""


@contextmanager
def folded(log: Log) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with a log, its monthly states and what the macros read beside them."""
    with connect() as connection:
        create_events(connection, log)
        connection.execute(HEADS)
        hidden = pa.Table.from_pylist([], schema=REDACTED_EVENTS.arrow_schema())
        connection.register("given", hidden)
        connection.execute("CREATE TABLE redacted_events AS SELECT * FROM given")
        for dataset in _FOLDED:
            connection.execute(f"CREATE TABLE {dataset.name} AS {dataset.typed_empty()}")
        for month in sorted({event["month"] for event in log}):
            rows, _ = compute_redacted(connection, month)
            connection.register("given", rows)
            connection.execute(
                "INSERT INTO redacted_events BY NAME SELECT $month AS month, * FROM given", {"month": month}
            )
            _, states = fold_with_sql(connection, month, [dataset.name for dataset in _FOLDED])
            for dataset in _FOLDED:
                schema = pa.schema([field for field in dataset.arrow_schema() if field.name != "month"])
                connection.register("given", pa.Table.from_pylist(states[dataset.name], schema=schema))
                connection.execute(
                    f"INSERT INTO {dataset.name} BY NAME SELECT $month AS month, * FROM given", {"month": month}
                )
        connection.execute(f"CREATE VIEW readable_events AS {readable_query(load_ladder())}")
        for macro in list_macros(SNAPSHOT_EVENTS):
            connection.execute(macro.statement)
        yield connection


def as_of(connection: duckdb.DuckDBPyConnection, name: str, at: datetime, key: str) -> list[dict[str, Any]]:
    """The rows of a macro at a time, in the order of their key."""
    return rows_of(connection, f"SELECT * FROM {name}_as_of(TIMESTAMPTZ '{at.isoformat()}') ORDER BY {key}")


def expected(log: Log, at: datetime) -> dict[str, list[dict[str, Any]]]:
    """The same from the plain left fold: redactions as of the whole log, events up to the time."""
    ordered = sorted(log, key=lambda event: (event["aggregate_id"], event["stream_version"]))
    streams: dict[str, StreamFold] = {}
    subjects: dict[str, SubjectFold] = {}
    shown = (each for each in reference.show(ordered) if each[0]["created_at"] <= at)
    for event, seen, starts_turn in reference.show_turns(shown):
        streams.setdefault(event["aggregate_id"], StreamFold()).apply(event, seen)
        subject = event["metadata"].get("subject_id")
        if subject is not None:
            subjects.setdefault(subject, SubjectFold(subject)).apply(event, seen, starts_turn=starts_turn)
    rows: dict[str, list[dict[str, Any]]] = {"conversations": [], "calls": [], "customers": []}
    for _, fold in sorted(streams.items()):
        if fold.aggregate_type in ("conversation", "call"):
            state = fold.state()
            rows[f"{fold.aggregate_type}s"].append({"month": f"{state['last_at']:%Y-%m}", **state})
    for _, subject in sorted(subjects.items()):
        state = subject.state()
        rows["customers"].append({"month": f"{state['last_at']:%Y-%m}", **state})
    return rows


def assert_equal(connection: duckdb.DuckDBPyConnection, log: Log, at: datetime) -> None:
    wanted = expected(log, at)
    for name, key in (("conversations", "aggregate_id"), ("calls", "aggregate_id"), ("customers", "subject_id")):
        assert comparable(as_of(connection, name, at, key)) == comparable(wanted[name]), (name, at)
