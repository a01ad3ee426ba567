"""`export`: a month of the store into the lake, against the server's own COPY of the same rows to nowhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import adbc_driver_postgresql.dbapi  # noqa: F401 -- export loads it when first used; importing is no part of a figure
import psycopg

from pipelines.export.month import export_month, month_bounds
from pipelines.lake.lake import Lake
from tests.benchmarks.databases import create_database, opened, running_server
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, read_batches, write_log
from tests.benchmarks.rounds import Bench, Measure

TIME = Target("at most", 2.8)
MEMORY = Target("at most", 1.0)
SIZE = Target("at most", 1.0)
SHARE_OF_TABLE = 0.10
HASH_BYTES = 34
"""A SHA-256 is 32 bytes that no compression makes smaller; Parquet adds about 2."""

_MEMORY_BYTES = 10**9
_COPY = """
COPY (
    SELECT
        aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata, created_at, epoch, xid,
        position, hash
    FROM refold.events
    WHERE created_at >= '{start}' AND created_at < '{stop}'
) TO '/dev/null' (FORMAT binary)
"""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `export`."""
    path = bench.folder / "log.parquet"
    write_log(path, bench.events)
    home = bench.folder / "home"
    with running_server(home):
        bench.tell(f"appending {bench.events:,} events")
        dsn = create_database(home, "full", [month_bounds(MONTH)[0]])
        with opened(dsn) as store:
            events = store.append_many(read_batches(str(path), bench.events)).events
            store.conn.execute("VACUUM ANALYZE refold.events")
            row = store.conn.execute(
                "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('refold.events')"
            ).fetchone()
        assert row is not None
        given: dict[str, Any] = {"dsn": dsn, "folder": str(bench.folder)}
        rounds = bench.interleave({"export": (export, given), "copy": (copy_to_nowhere, {"dsn": dsn})})
    yield rounds.figure(
        f"export: {events:,} events",
        "s",
        ("export", "seconds"),
        peer=("copy", "seconds"),
        peer_name="COPY to /dev/null",
        target=TIME,
    )
    rate = rounds.median(("export", "seconds"))
    yield Figure("export: rate", "events/s", events / rate)
    peak = rounds.median(("export", "peak_bytes"))
    yield Figure(
        "export: peak memory", "MB", peak / 1e6, "REFOLD_MEMORY", _MEMORY_BYTES / 1e6, peak / _MEMORY_BYTES, MEMORY
    )
    size = rounds.median(("export", "size_bytes"))
    limit = SHARE_OF_TABLE * float(row[0]) + HASH_BYTES * events
    yield Figure(
        "export: lake size", "MB", size / 1e6, "0.10 of the table + 34 B/event", limit / 1e6, size / limit, SIZE
    )


def export(dsn: str, folder: str) -> Measure:
    """Export the month into a new lake."""
    root = Path(mkdtemp(dir=folder))
    try:
        lake = Lake(root / "lake", memory_bytes=_MEMORY_BYTES)
        started = time.perf_counter()
        done = export_month(dsn, lake, MONTH)
        return {"seconds": time.perf_counter() - started, "size_bytes": done.size_bytes}
    finally:
        shutil.rmtree(root)


def copy_to_nowhere(dsn: str) -> Measure:
    """The server's own binary COPY of the month's rows, unsorted, written nowhere."""
    start, stop = month_bounds(MONTH)
    with psycopg.connect(dsn) as conn:
        started = time.perf_counter()
        conn.execute(_COPY.format(start=start.isoformat(), stop=stop.isoformat()))
        return {"seconds": time.perf_counter() - started}
