"""What keeping everything costs: bytes of the log in PostgreSQL and of the lake, beside a row store of the current state.

The row store is really built: the newest states go into temporary tables of the same PostgreSQL, in a transaction that is
rolled back, and are measured there. It holds what an agent without a log would hold: conversations, their messages and
tool calls, and the rows that changed; each table with its primary key and no other index.

"Before compaction" counts the superseded files that are still on disk within their grace; "after" is what is current.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import duckdb
import psycopg

from pipelines.lake.lake import Lake
from pipelines.sqlfiles import read_sql

_BATCH = 10_000  # rows; bounds what is in Python at once
_MONTHS: LiteralString = """
SELECT
    m.month,
    coalesce(pg_table_size(to_regclass('refold.events_' || replace(m.month, '-', '_'))), 0),
    coalesce(pg_indexes_size(to_regclass('refold.events_' || replace(m.month, '-', '_'))), 0)
FROM refold.months AS m
ORDER BY 1
"""
_SHARED: LiteralString = """
SELECT coalesce(sum(pg_table_size(c.oid)), 0)::bigint, coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
WHERE n.nspname = 'refold' AND c.relkind = 'r' AND NOT c.relname ~ '^events_[0-9]{4}_[0-9]{2}$'
"""
"""All other tables of the store: heads of streams, event types, months, strays."""

# what is kept, by the views that show it now
_STATES = """
FROM (
    SELECT *, 'conversation' AS aggregate_type FROM conversations
    UNION ALL BY NAME SELECT *, 'call' AS aggregate_type FROM calls
) AS states
"""
_COPIES = {
    "crud_conversations": f"""
SELECT
    aggregate_id, aggregate_type, source, source_id, source_ordinal, agent, variant, task, channel, vertical, subject_id,
    status, outcome, started_at, ended_at, last_at
{_STATES}""",
    "crud_messages": f"""
SELECT aggregate_id, said.stream_version, said.role, said.text, said.created_at
FROM (SELECT aggregate_id, unnest(transcript) AS said {_STATES})""",
    "crud_tool_calls": f"""
SELECT
    aggregate_id, called.stream_version, called.actor, called.call_id, called.name, called.arguments, called.output,
    called.error
FROM (SELECT aggregate_id, unnest(tool_calls) AS called {_STATES})""",
    "crud_rows": """
SELECT subject_id, kept."table", kept."key", kept."row" FROM (SELECT subject_id, unnest(rows) AS kept FROM customers)""",
}


@dataclass(frozen=True, slots=True)
class MonthBytes:
    """One month; None stands for what belongs to no month.

    Attributes:
        month: YYYY-MM, or None.
        postgres_table_bytes: The month's partition, out-of-line values included.
        postgres_index_bytes: Its indexes.
        events_bytes: Current files of the exported log.
        folds_bytes: Current files of the projections, one's own included.
        snapshots_bytes: Current files of snapshots.
        diffs_bytes: Current files of replays and comparisons; of no month.
        superseded_bytes: Files of all these that are replaced and still within their grace.
    """

    month: str | None
    postgres_table_bytes: int = 0
    postgres_index_bytes: int = 0
    events_bytes: int = 0
    folds_bytes: int = 0
    snapshots_bytes: int = 0
    diffs_bytes: int = 0
    superseded_bytes: int = 0

    @property
    def lake_bytes(self) -> int:
        """Current files of the lake."""
        return self.events_bytes + self.folds_bytes + self.snapshots_bytes + self.diffs_bytes


@dataclass(frozen=True, slots=True)
class Storage:
    """What the store and the lake take, and the row store beside them.

    Attributes:
        months: By month; what belongs to none is last.
        crud_bytes: The row store of the current state, indexes included.
        crud_rows: Its rows by table.
        postgres_bytes: The log in PostgreSQL, all tables and indexes.
        lake_bytes: Current files of the lake.
        superseded_bytes: Replaced files that are still there.
        postgres_ratio: The log in PostgreSQL over the row store; None without a state to compare with.
        before_ratio: Log and lake with replaced files, over the row store.
        after_ratio: Log and lake without them, over the row store.
    """

    months: list[MonthBytes]
    crud_bytes: int
    crud_rows: dict[str, int]
    postgres_bytes: int
    lake_bytes: int
    superseded_bytes: int
    postgres_ratio: float | None
    before_ratio: float | None
    after_ratio: float | None


def measure_storage(conn: psycopg.Connection, lake: Lake) -> Storage:
    """Measure store and lake as they are now; nothing is left behind.

    Args:
        conn: The store's connection, not in a transaction.
        lake: The lake; the row store holds what is folded in it.
    """
    found: dict[str | None, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for month, table, index in conn.execute(_MONTHS).fetchall():
        found[month] |= {"postgres_table_bytes": table, "postgres_index_bytes": index}
    shared = conn.execute(_SHARED).fetchone()
    assert shared is not None
    found[None] |= {"postgres_table_bytes": shared[0], "postgres_index_bytes": shared[1]}
    for month, what, size in _lake_files(lake):
        found[month][what] += size
    months = [MonthBytes(month, **sizes) for month, sizes in sorted(found.items(), key=lambda item: item[0] or "~")]
    crud_bytes, crud_rows = _build_current_state(conn, lake)
    postgres = sum(month.postgres_table_bytes + month.postgres_index_bytes for month in months)
    current, superseded = (sum(getattr(m, name) for m in months) for name in ("lake_bytes", "superseded_bytes"))
    has_state = any(crud_rows.values())

    def ratio(size: int) -> float | None:
        return size / crud_bytes if has_state else None

    return Storage(
        months=months,
        crud_bytes=crud_bytes,
        crud_rows=crud_rows,
        postgres_bytes=postgres,
        lake_bytes=current,
        superseded_bytes=superseded,
        postgres_ratio=ratio(postgres),
        before_ratio=ratio(postgres + current + superseded),
        after_ratio=ratio(postgres + current),
    )


def _lake_files(lake: Lake) -> Iterator[tuple[str | None, str, int]]:
    """(month or None, field of `MonthBytes`, bytes) of every data file on disk."""
    for dataset in lake.datasets().values():
        if dataset.layer == "log":
            what = "events_bytes"
        elif dataset.name in ("snapshots", "customer_snapshots"):
            what = "snapshots_bytes"
        else:
            what = "folds_bytes" if dataset.layer == "fold" else "diffs_bytes"
        current = set(lake.files(dataset.name))
        root = lake.table(dataset.name).path
        for path in root.rglob("part-*.parquet") if root.is_dir() else ():
            month = next((part.removeprefix("month=") for part in path.parts if part.startswith("month=")), None)
            yield month, what if str(path) in current else "superseded_bytes", _size(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # removed since it was listed
        return 0


def _build_current_state(conn: psycopg.Connection, lake: Lake) -> tuple[int, dict[str, int]]:
    """Bytes of the row store with its indexes, and rows by table."""
    rows = {}
    with lake.connect() as connection, conn.transaction(force_rollback=True):
        conn.execute(read_sql("postgres/storage/current_state.sql"))
        for table, query in _COPIES.items():
            rows[table.removeprefix("crud_")] = _copy(conn, connection, table, query)
        names = ", ".join(f"'{table}'::regclass" for table in _COPIES)
        sized = f"SELECT sum(pg_total_relation_size(each))::bigint FROM unnest(ARRAY[{names}]) AS each"
        row = conn.execute(sized).fetchone()
    assert row is not None
    return int(row[0]), rows


def _copy(conn: psycopg.Connection, connection: duckdb.DuckDBPyConnection, table: str, query: str) -> int:
    reader: Any = connection.sql(query).to_arrow_reader(_BATCH)
    count = 0
    with conn.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for batch in reader:
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                copy.write_row(row)
            count += batch.num_rows
    return count
