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
