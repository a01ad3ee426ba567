"""What erasing one customer costs, without a scrub: chosen, recorded, emptied, the month exported again; beside its export."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from pipelines.erasure.record import record, take_content
from pipelines.erasure.selection import select_customer
from pipelines.export.month import export_month
from pipelines.export.snapshot import month_bounds
from pipelines.lake.lake import Lake
from pipelines.store import Store
from pipelines.store.connect import connect
from tests.benchmarks.databases import create_database, running_server
from tests.benchmarks.export import export
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, write_log
from tests.benchmarks.rounds import Bench, Measure
from tests.benchmarks.stored import fill_store

_TIME = Target("at most", 1.5)
_MEMORY_BYTES = 10**9
_NEXT = """
SELECT metadata ->> 'subject_id' FROM refold.events
WHERE metadata ? 'subject_id' AND octet_length(digest) = 0 AND created_at >= '{start}' LIMIT 1
"""


def run(bench: Bench) -> Iterator[Figure]:
    """The figure of an erasure."""
    log, home, root = bench.folder / "erased.parquet", bench.folder / "erased-home", bench.folder / "erased-lake"
    write_log(log, bench.events)
    with running_server(home):
        bench.tell(f"a store with {bench.events:,} events, exported")
        dsn = create_database(home, "erased", [month_bounds(MONTH)[0]])
        events, _ = fill_store(dsn, log, bench.events)
        export_month(dsn, Lake(root, memory_bytes=_MEMORY_BYTES), MONTH)
        given = {"dsn": dsn}
        rounds = bench.interleave(
            {
                "erase": (erase, given | {"root": str(root)}),
                "export": (export, given | {"folder": str(bench.folder)}),
            }
        )
    yield rounds.figure(
        f"audit: erasing one customer of {events:,} events",
        "s",
        ("erase", "seconds"),
        peer=("export", "seconds"),
        peer_name="the month's export",
        target=_TIME,
    )


def erase(dsn: str, root: str) -> Measure:
    """Erase the next customer that the store has, and write the month of the lake anew."""
    with psycopg.connect(dsn) as conn:
        found = conn.execute(_NEXT.format(start=month_bounds(MONTH)[0].isoformat()).encode()).fetchone()
    assert found is not None
    with connect(dsn) as conn:
        started = time.perf_counter()
        store = Store(conn, dsn)
        record(store, select_customer(store, found[0]), "ticket 4711", None)
        take_content(store)
        done = export_month(dsn, Lake(Path(root), memory_bytes=_MEMORY_BYTES), MONTH)
        assert done.is_written
        return {"seconds": time.perf_counter() - started}
