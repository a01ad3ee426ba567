"""Events cannot be changed: whoever tries, by whatever statement."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from pipelines.store import AppendOnly, NewEvent, Store
from pipelines.store.sqlstate import typed_errors

TABLES = ["refold.events", "refold.events_2026_03", "refold.events_default", "refold.event_types"]
STATEMENTS = [
    "UPDATE {table} SET {column} = {column}",
    "UPDATE {table} SET {column} = {column} WHERE false",
    "DELETE FROM {table}",
    "DELETE FROM ONLY {table}",
    "TRUNCATE {table}",
    "TRUNCATE {table} CASCADE",
    "MERGE INTO {table} AS t USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
    "DO $x$ BEGIN EXECUTE 'DELETE FROM {table}'; END $x$",
    "WITH gone AS (DELETE FROM {table} RETURNING 1) SELECT count(*) FROM gone",
]


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with an event in a month, one in DEFAULT, and one month without events."""
    store.ensure_months([datetime(2026, 3, 1, tzinfo=UTC)])
    for at in (datetime(2026, 3, 5, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC)):
        store.append(uuid4(), "conversation", [NewEvent("user.utterance.v1", {"text": "x"}, {}, at)], "any")
    return store


@pytest.mark.parametrize("role", ["origin", "replica", "local"])
@pytest.mark.parametrize("table", TABLES)
def test_no_statement_changes_an_event(filled: Store, table: str, role: str) -> None:
    """UPDATE, DELETE, TRUNCATE and MERGE are refused on parent and partitions, for a superuser, in every replication role."""
    filled.conn.execute("SELECT set_config('session_replication_role', %s, false)", [role])
    column = "description" if table.endswith("event_types") else "payload"
    before = filled.conn.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    for statement in STATEMENTS:
        with pytest.raises(AppendOnly, match="append-only"), typed_errors():
            filled.conn.execute(statement.format(table=table, column=column).encode())
    assert filled.conn.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() == before


def test_a_key_is_taken_once(filled: Store) -> None:
    """A (stream, version, time) cannot be inserted twice, also not by a superuser's own INSERT."""
    with pytest.raises(psycopg.errors.UniqueViolation):
        filled.conn.execute("INSERT INTO refold.events OVERRIDING SYSTEM VALUE SELECT * FROM refold.events LIMIT 1")


def test_every_partition_carries_every_trigger(filled: Store) -> None:
    """Parent and partitions have both append-only triggers, enabled ALWAYS."""
    rows = filled.conn.execute(
        "SELECT p.relid::text, array_agg(t.tgname::text || ' ' || t.tgenabled::text ORDER BY t.tgname) "
        "FROM pg_partition_tree('refold.events') AS p LEFT JOIN pg_trigger AS t ON t.tgrelid = p.relid GROUP BY 1"
    ).fetchall()
    assert len(rows) >= 4
    assert {tuple(triggers) for _, triggers in rows} == {("refold_append_only A", "refold_append_only_row A")}
