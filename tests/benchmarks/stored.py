"""Fill a store with a written log in the time that PostgreSQL needs for it: for benchmarks that read.

Rows are copied in as they would lie after appends by many writers at once: 64 conversations take turns. The guards let a
superuser insert; hashes are the log's own, and no link of a chain.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import psycopg

from pipelines.duck import quote_literal

_AT_ONCE = 64
_CHUNK = 300_000
_ROWS = f"""
SELECT
    $first + row_number() OVER (ORDER BY (xid - 1) // {_AT_ONCE}, stream_version, xid), aggregate_id, aggregate_type, stream_version,
    event_type, event_version, payload, metadata, created_at, epoch, '\\x' || hex(hash),
    '\\x' || left(hex(hash), 32)
FROM read_parquet($path)
WHERE position > $first AND position <= $first + {_CHUNK}
ORDER BY 1
"""
_COPY = """
COPY refold.events (
    position, aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata, created_at, epoch, hash, salt
) FROM STDIN (FORMAT csv)
"""
_HEADS = """
INSERT INTO refold.streams (aggregate_id, aggregate_type, stream_version, hash, created_at, epoch, order_xid)
SELECT DISTINCT ON (aggregate_id) aggregate_id, aggregate_type, stream_version, hash, created_at, epoch, order_xid
FROM refold.events ORDER BY aggregate_id, stream_version DESC
"""
_SIZE = "SELECT count(*), (SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree('refold.events')) FROM refold.events"


def fill_store(dsn: str, log: Path, events: int) -> tuple[int, int]:
    """Copy the first `events` events of a log into an empty store; answers how many there are, and their bytes on disk."""
    rows = log.with_suffix(".csv")
    with duckdb.connect() as connection, psycopg.connect(dsn, autocommit=True) as store:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET memory_limit = '1GB'")
        for first in range(0, events, _CHUNK):
            part = f"COPY ({_ROWS} LIMIT {events - first}) TO {quote_literal(str(rows))} (FORMAT csv, HEADER false)"
            connection.sql(part, params={"first": first, "path": str(log)})
            with rows.open("rb") as stream, store.cursor().copy(_COPY) as copy:
                while block := stream.read(1 << 20):
                    copy.write(block)
        rows.unlink()
        store.execute(_HEADS)
        store.execute("VACUUM ANALYZE refold.events")
        store.execute("VACUUM ANALYZE refold.streams")
        store.execute("CHECKPOINT")
        found = store.execute(_SIZE).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])
