"""Put a log into DuckDB, fold a month of it, and bring rows of both routes into one form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.canonical.calls import Canonicaliser
from pipelines.folds.shipped import PROJECTIONS, projection_query
from pipelines.folds.steps import Prepared, prepare_month
from pipelines.lake.datasets import EVENTS
from pipelines.settings import SNAPSHOT_EVENTS
from pipelines.store.events import NewEvent
from tests.oracles.left_fold_values import jsonb_text

# JSON text has many spellings; two texts of one value are equal
_JSON = {"arguments", "recorded", "output", "error", "outcome", "key", "row"}


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in UTC, as the lake's are."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET threads = 2")
    return connection


def create_events(connection: duckdb.DuckDBPyConnection, log: Iterable[Mapping[str, Any]]) -> None:
    """Create the relation `events` from a log."""
    rows = [
        {**event, "payload": jsonb_text(event["payload"]), "metadata": jsonb_text(event["metadata"])} for event in log
    ]
    table = pa.Table.from_pylist(rows, schema=EVENTS.arrow_schema())
    connection.register("handed_over", table)
    connection.execute("CREATE OR REPLACE TABLE events AS SELECT * FROM handed_over")
    connection.unregister("handed_over")


def fold_with_sql(
    connection: duckdb.DuckDBPyConnection,
    month: str,
    names: Iterable[str] = PROJECTIONS,
    *,
    snapshot_events: int = SNAPSHOT_EVENTS,
) -> tuple[Prepared, dict[str, list[dict[str, Any]]]]:
    """Fold a month of the relation `events`: what the steps found, and the rows of every projection in its own order."""
    names = tuple(names)
    prepared = prepare_month(connection, month, names, snapshot_events=snapshot_events)
    return prepared, {name: rows_of(connection, projection_query(name)) for name in names}


def rows_of(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """The rows of a query as plain Python values."""
    rows: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return rows


def comparable(value: Any, name: str = "") -> Any:
    """A value with JSON texts parsed, and recorded texts where they are.

    `l0_hash` depends on how numbers are spelled (3e-05 is 0.00003 in DuckDB and in PostgreSQL), so it is compared with
    the hash of the row's own texts.
    """
    if isinstance(value, Mapping) and "l0_hash" in value:
        listed = [{**call, "recorded": call["recorded"] or call["arguments"]} for call in value["tool_calls"]]
        own = Canonicaliser().hash_list([(0, call["name"], call["recorded"]) for call in listed]).l0
        value = {**value, "tool_calls": listed, "l0_hash": "own" if value["l0_hash"] == own else value["l0_hash"]}
    if isinstance(value, Mapping):
        return {key: comparable(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [comparable(inner, name) for inner in value]
    if name in _JSON and isinstance(value, str):
        return {"json": json.loads(value)}
    return value


def make_log(streams: Iterable[tuple[str, str, Iterable[NewEvent]]]) -> list[dict[str, Any]]:
    """A log of (stream id, type, events) as a store would keep it; a stream may come in several parts."""
    log: list[dict[str, Any]] = []
    versions: Counter[str] = Counter()
    for stream, kind, events in streams:
        for event in events:
            assert event.created_at is not None
            versions[stream] += 1
            log.append(
                {
                    "month": f"{event.created_at:%Y-%m}",
                    "aggregate_id": stream,
                    "aggregate_type": kind,
                    "stream_version": versions[stream],
                    "event_type": event.event_type,
                    "event_version": int(event.event_type.rsplit(".v", 1)[1]),
                    "payload": dict(event.payload),
                    "metadata": dict(event.metadata),
                    "created_at": event.created_at,
                    "epoch": 1,
                    "xid": len(log),
                    "position": len(log) + 1,
                    "hash": sha256(f"{stream} {versions[stream]}".encode()).digest(),
                }
            )
    return log
