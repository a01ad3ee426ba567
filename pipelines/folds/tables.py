"""Hand rows that Python computed to the SQL steps, as temporary tables of the same connection."""

from __future__ import annotations

import duckdb
import pyarrow as pa

_HANDED_OVER = "refold_handed_over"


def create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table | pa.RecordBatchReader) -> None:
    """Create or replace the temporary table `name` with `rows`."""
    connection.register(_HANDED_OVER, rows)
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM {_HANDED_OVER}")
    finally:
        connection.unregister(_HANDED_OVER)


def unless_none(connection: duckdb.DuckDBPyConnection, wanted: str, query: str) -> str:
    """`query`, which joins payloads with the rows of the SELECT `wanted`; without such rows, a query of its columns that reads nothing.

    DuckDB reads a range of all payloads before it notices that there is nothing to look for.
    """
    (is_any,) = connection.sql(f"SELECT count(*) > 0 FROM ({wanted})").fetchall()[0]
    query = query.strip().rstrip(";")
    return query if is_any else f"SELECT * FROM ({query}) LIMIT 0"
