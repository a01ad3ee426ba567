"""The oracle of the export: a month of the lake is the store's, every column of every event, in both directions."""

from __future__ import annotations

from contextlib import closing

import adbc_driver_postgresql.dbapi as adbc

from pipelines.export.snapshot import month_bounds
from pipelines.lake.lake import Lake

_STORED = """
SELECT aggregate_id::text, aggregate_type, stream_version, event_type, event_version, payload::text, metadata::text,
    (extract(epoch FROM created_at) * 1000000)::bigint, epoch, xid::text::bigint, position, hash, salt, digest
FROM refold.events WHERE created_at >= '{}' AND created_at < '{}'
"""
_EXPORTED = """
SELECT aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata,
    epoch_us(created_at), epoch, xid, position, hash, salt, digest
FROM events WHERE month = $month
"""
_HEADS = """
SELECT aggregate_id, min(stream_version), max(stream_version), count(*), arg_max(hash, stream_version)
FROM events WHERE month = $month GROUP BY aggregate_id
"""
_EXPORTED_HEADS = """
SELECT aggregate_id, first_version, last_version, event_count, last_hash FROM stream_months WHERE month = $month
"""


def require_equal(dsn: str, lake: Lake, month: str) -> int:
    """Fail unless the lake's month equals the store's as a multiset, and `stream_months` says the same; answers its rows."""
    with closing(adbc.connect(dsn)) as store, lake.connect() as connection:
        with store.cursor() as cursor:
            start, stop = month_bounds(month)
            cursor.execute(_STORED.format(start.isoformat(), stop.isoformat()))
            connection.register("stored_rows", cursor.fetch_arrow_table())
        connection.execute("CREATE TEMP TABLE stored AS SELECT * FROM stored_rows")
        connection.execute(f"CREATE TEMP TABLE exported AS {_EXPORTED}", {"month": month})
        for left, right in (("stored", "exported"), ("exported", "stored")):
            query = f"SELECT * FROM (SELECT * FROM {left} EXCEPT ALL SELECT * FROM {right}) LIMIT 3"
            assert connection.sql(query).fetchall() == [], f"{month}: in {left}, not in {right}"
        connection.execute(f"CREATE TEMP TABLE heads AS {_HEADS}", {"month": month})
        connection.execute(f"CREATE TEMP TABLE exported_heads AS {_EXPORTED_HEADS}", {"month": month})
        for left, right in (("heads", "exported_heads"), ("exported_heads", "heads")):
            query = f"SELECT * FROM (SELECT * FROM {left} EXCEPT ALL SELECT * FROM {right}) LIMIT 3"
            assert connection.sql(query).fetchall() == [], f"{month}: in {left}, not in {right}"
        return int(connection.sql("SELECT count(*) FROM stored").fetchall()[0][0])
