"""A log with its monthly states, folded up to a point, and what the plain left fold says at the same point."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.folds.as_of import STATES, Current, Point, fold_up_to, month_of, show_as_of
from pipelines.folds.plan import ALL, RangeSize
from pipelines.lake.datasets import SNAPSHOTS, find_dataset
from pipelines.lake.datasets.folds import CUSTOMER_SNAPSHOTS
from pipelines.lake.views import list_views
from pipelines.settings import SNAPSHOT_EVENTS
from tests.oracles import left_fold
from tests.oracles.left_fold_streams import StreamFold, SubjectFold
from tests.support.equality import comparable, connect, create_events, fold_with_sql, rows_of

Log = list[dict[str, Any]]
KEYS = {"conversations": "aggregate_id", "calls": "aggregate_id", "customers": "subject_id"}
_FOLDED = (*STATES, SNAPSHOTS.name, CUSTOMER_SNAPSHOTS.name)


@contextmanager
def folded(log: Log, snapshot_events: int = SNAPSHOT_EVENTS) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with a log in `stored_events` and what its months were folded to in `stored_<table>`."""
    with connect() as connection:
        create_events(connection, log)
        for name in _FOLDED:
            connection.execute(f"CREATE TABLE stored_{name} AS {find_dataset(name).typed_empty()}")
        for month in sorted({event["month"] for event in log}):
            _, states = fold_with_sql(connection, month, _FOLDED, snapshot_events=snapshot_events)
            for name in _FOLDED:
                schema = pa.schema([field for field in find_dataset(name).arrow_schema() if field.name != "month"])
                connection.register("given", pa.Table.from_pylist(states[name], schema=schema))
                connection.execute(
                    f"INSERT INTO stored_{name} BY NAME SELECT $month AS month, * FROM given", {"month": month}
                )
        connection.execute("ALTER TABLE events RENAME TO stored_events")
        yield connection


def as_of(
    connection: duckdb.DuckDBPyConnection,
    point: Point,
    current: Current,
    *,
    size: RangeSize = ALL,
    snapshot_events: int = SNAPSHOT_EVENTS,
) -> dict[str, list[dict[str, Any]]]:
    """The rows of `conversations`, `calls` and `customers` as of a point, each in the order of its key."""
    for name in ("log", *STATES):
        connection.execute(f"DROP VIEW IF EXISTS refold_{name}")
    for name in ("events", *_FOLDED):
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM stored_{name}")
    month = month_of(connection, point)
    if month is not None:
        parts: dict[str, list[pa.Table]] = {}
        tables = fold_up_to(connection, point, month, current, size=size, snapshot_events=snapshot_events)
        for name, rows in tables:
            parts.setdefault(name, []).append(rows)
        for name, made in parts.items():
            connection.register(f"folded_{name}", pa.concat_tables(made, promote_options="permissive"))
        show_as_of(connection, month, {name: f"folded_{name}" for name in parts})
    for view in list_views():
        if view.name in KEYS:
            connection.execute(f"CREATE OR REPLACE VIEW {view.name} AS {view.query}")
    return {name: rows_of(connection, f"SELECT * FROM {name} ORDER BY {key}") for name, key in KEYS.items()}


def expected(log: Log, point: Point) -> dict[str, list[dict[str, Any]]]:
    """The same from the plain left fold: redactions as of the whole log, events up to the point."""
    ordered = sorted(log, key=lambda event: (event["aggregate_id"], event["stream_version"]))
    streams: dict[str, StreamFold] = {}
    subjects: dict[str, SubjectFold] = {}
    shown = (each for each in left_fold.show(ordered) if is_within(each[0], point))
    for event, seen, starts_turn in left_fold.show_turns(shown):
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


def is_within(event: dict[str, Any], point: Point) -> bool:
    """Whether an event is up to the point."""
    return bool(event["created_at"] <= point.at if point.at is not None else event["position"] <= point.position)


def everything_before(log: Log) -> Current:
    """What was folded, as a lake would vouch for it: all of it."""
    return Current(sorted({event["month"] for event in log}), is_customers=True, is_month=True)


def assert_equal(connection: duckdb.DuckDBPyConnection, log: Log, point: Point, current: Current, **given: int) -> None:
    wanted, found = expected(log, point), as_of(connection, point, current, **given)
    for name in KEYS:
        assert comparable(found[name]) == comparable(wanted[name]), (name, point)
