"""Say what a home's log and lake take beside a row store that holds the current state alone: the ratios of docs/storage.md.

    python tests/acceptance/row_store.py        of the home that REFOLD_HOME names

The row store is really built: the newest states are copied into temporary tables of the home's own PostgreSQL, in a transaction that
is rolled back, and are measured there. It holds what an agent without a log would hold: conversations, their messages and tool calls,
and the rows that changed; each table with its primary key and no other index.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import duckdb
import psycopg

from pipelines.console import render_table
from pipelines.export.storage import measure_storage
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store

BATCH = 10_000  # rows; bounds what is in Python at once
TABLES = """
CREATE TEMP TABLE crud_conversations (
    aggregate_id uuid PRIMARY KEY, aggregate_type text, source text, source_id text, source_ordinal bigint, agent text,
    variant text, task text, channel text, vertical text, subject_id text, status text, outcome jsonb,
    started_at timestamptz, ended_at timestamptz, last_at timestamptz
) ON COMMIT DROP;

CREATE TEMP TABLE crud_messages (
    aggregate_id uuid, place integer, role text, text text, created_at timestamptz, PRIMARY KEY (aggregate_id, place)
) ON COMMIT DROP;

CREATE TEMP TABLE crud_tool_calls (
    aggregate_id uuid, place integer, actor text, call_id text, name text, arguments jsonb, output jsonb, error jsonb,
    PRIMARY KEY (aggregate_id, place)
) ON COMMIT DROP;

CREATE TEMP TABLE crud_rows (
    subject_id text, table_name text, row_key text, row_value jsonb, PRIMARY KEY (table_name, row_key, subject_id)
) ON COMMIT DROP;
"""
# what is kept, by the views that show it now
STATES = """
FROM (
    SELECT *, 'conversation' AS aggregate_type FROM conversations
    UNION ALL BY NAME SELECT *, 'call' AS aggregate_type FROM calls
) AS states
"""
COPIES = {
    "crud_conversations": f"""
SELECT
    aggregate_id, aggregate_type, source, source_id, source_ordinal, agent, variant, task, channel, vertical, subject_id,
    status, outcome, started_at, ended_at, last_at
{STATES}""",
    "crud_messages": f"""
SELECT aggregate_id, said.stream_version, said.role, said.text, said.created_at
FROM (SELECT aggregate_id, unnest(transcript) AS said {STATES})""",
    "crud_tool_calls": f"""
SELECT
    aggregate_id, called.stream_version, called.actor, called.call_id, called.name, called.arguments, called.output,
    called.error
FROM (SELECT aggregate_id, unnest(tool_calls) AS called {STATES})""",
    "crud_rows": """
SELECT subject_id, kept."table", kept."key", kept."row" FROM (SELECT subject_id, unnest(rows) AS kept FROM customers)""",
}


def build_row_store(conn: psycopg.Connection, lake: Lake) -> tuple[int, dict[str, int]]:
    """Bytes of the row store with its indexes, and rows by table; nothing of it is left."""
    rows = {}
    with lake.connect() as connection, conn.transaction(force_rollback=True):
        conn.execute(TABLES)
        for table, query in COPIES.items():
            rows[table.removeprefix("crud_")] = copy_rows(conn, connection, table, query)
        names = ", ".join(f"'{table}'::regclass" for table in COPIES)
        sized = f"SELECT sum(pg_total_relation_size(each))::bigint FROM unnest(ARRAY[{names}]) AS each"
        row = conn.execute(sized).fetchone()
    assert row is not None
    return int(row[0]), rows


def copy_rows(conn: psycopg.Connection, connection: duckdb.DuckDBPyConnection, table: str, query: str) -> int:
    """Copy the rows of a query into a table; answer how many."""
    reader = connection.sql(query).to_arrow_reader(BATCH)
    count = 0
    with conn.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for batch in reader:
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                copy.write_row(row)
            count += batch.num_rows
    return count


def main() -> None:
    """Print the ratios."""
    settings = Settings.from_env()
    lake = Lake.from_settings(settings)
    with Store.open(settings) as store:
        found = measure_storage(store.conn, lake)
        state, rows = build_row_store(store.conn, lake)
    after = found.postgres_bytes + found.lake_bytes
    sizes = {
        "current state alone, as rows": state,
        "the log in PostgreSQL": found.postgres_bytes,
        "log and lake, with replaced files": after + found.superseded_bytes,
        "log and lake, after compaction": after,
    }
    print(render_table(["", "bytes", "ratio"], [[name, size, f"{size / state:.2f} ×"] for name, size in sizes.items()]))
    print("\nThe current state: " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in rows.items()))


if __name__ == "__main__":
    main()
