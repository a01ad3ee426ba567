"""What an audit reads with: a DuckDB that needs no table of the lake to be whole, and Arrow streams from the store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.duck import emptied
from pipelines.export.snapshot import month_condition
from pipelines.store.session import ARROW_OPTIONS, session_query

_DUCKDB_SHARE = 0.35
"""Share of the process's memory for joins of heads and fingerprints; half of it is the scan's."""
_SNAPSHOT = re.compile(r"\d+:\d+:(\d+(,\d+)*)?")


@contextmanager
def scratch(memory_bytes: int) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A DuckDB, and a temporary folder that it spills to: an audit writes nothing into the lake."""
    with TemporaryDirectory(prefix="refold-verify-") as folder, emptied(Path(folder) / "spill") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{int(memory_bytes * _DUCKDB_SHARE)}B'")
        connection.execute("SET enable_progress_bar = false")
        yield connection, Path(folder)


@contextmanager
def read_store(dsn: str, query: str) -> Iterator[pa.RecordBatchReader]:
    """The rows of a query as Arrow batches, by binary COPY."""
    import adbc_driver_postgresql.dbapi as adbc  # noqa: PLC0415 -- 1.13 loads pandas, which an audit of the lake alone need not

    with adbc.connect(dsn, ARROW_OPTIONS, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(session_query())
        cursor.fetchall()
        cursor.execute(query)
        yield cursor.fetch_record_batch()


def exported_condition(month: str, provenance: Mapping[str, Any], last: tuple[int, int, int] | None) -> str | None:
    """The events of an open month that its last export saw, as a condition; None when that is not known.

    Args:
        month: YYYY-MM.
        provenance: What the export remembered of its snapshot.
        last: Largest (epoch, xid, position) in the lake's month.
    """
    seen, epoch, xmin = provenance.get("seen"), provenance.get("epoch"), provenance.get("xmin")
    if "seen" not in provenance and isinstance(xmin, int) and last is not None and last[1] < xmin:
        # An export that kept no more than its xmin; it saw exactly what is below, since it holds nothing above.
        epoch, seen = last[0], f"{xmin}:{xmin}:"
    # What the lake says is quoted into a query for the store: it must be numbers.
    if not isinstance(seen, str) or not _SNAPSHOT.fullmatch(seen) or not isinstance(epoch, int):
        return None
    is_seen = f"(epoch < {epoch} OR (epoch = {epoch} AND pg_visible_in_snapshot(xid, '{seen}'::pg_snapshot)))"
    return f"{month_condition(month)} AND {is_seen}"
