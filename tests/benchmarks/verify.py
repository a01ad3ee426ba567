"""`verify`: a sealed month checked against manifest and store, beside the export of the same month."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi  # noqa: F401 -- loaded when first used; importing is no part of a figure
import pyarrow.compute  # noqa: F401 -- likewise

from pipelines.audit.verify import verify as audit
from pipelines.export.seal import seal_month
from pipelines.export.snapshot import month_bounds
from pipelines.lake.lake import Lake
from tests.benchmarks.databases import create_database, opened, running_server
from tests.benchmarks.export import export
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, read_batches, write_log
from tests.benchmarks.rounds import Bench, Measure

TIME = Target("at most", 1.0)
MEMORY = Target("at most", 1.0)

_MEMORY_BYTES = 10**9


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `verify`."""
    path = bench.folder / "log.parquet"
    write_log(path, bench.events)
    home, root = bench.folder / "home", bench.folder / "lake"
    with running_server(home):
        bench.tell(f"appending {bench.events:,} events")
        dsn = create_database(home, "full", [month_bounds(MONTH)[0]])
        with opened(dsn) as store:
            events = store.append_many(read_batches(str(path), bench.events)).events
            store.conn.execute("VACUUM ANALYZE refold.events")
            bench.tell("sealing the month")
            seal_month(store, Lake(root, memory_bytes=_MEMORY_BYTES), MONTH)
        given: dict[str, Any] = {"dsn": dsn, "root": str(root)}
        rounds = bench.interleave(
            {
                "verify": (verify, given),
                "export": (export, {"dsn": dsn, "folder": str(bench.folder)}),
                "deep": (verify, {**given, "deep": True}),
                "lake": (verify, {**given, "lake_only": True}),
            }
        )
    exported: dict[str, Any] = {"peer": ("export", "seconds"), "peer_name": "export of the month"}
    yield rounds.figure(f"verify: {events:,} events", "s", ("verify", "seconds"), target=TIME, **exported)
    yield rounds.figure("verify: the lake alone", "s", ("lake", "seconds"), **exported)
    yield rounds.figure("verify: --deep", "s", ("deep", "seconds"), **exported)
    yield Figure("verify: rate", "events/s", events / rounds.median(("verify", "seconds")))
    for name, trial in (("peak memory", "verify"), ("peak memory, --deep", "deep")):
        peak = rounds.median((trial, "peak_bytes"))
        limit = _MEMORY_BYTES / 1e6
        yield Figure(f"verify: {name}", "MB", peak / 1e6, "REFOLD_MEMORY", limit, peak / _MEMORY_BYTES, MEMORY)


def verify(dsn: str, root: str, *, deep: bool = False, lake_only: bool = False) -> Measure:
    """Verify the month, which is whole."""
    with opened(dsn) as store:
        started = time.perf_counter()
        lake = Lake(Path(root), memory_bytes=_MEMORY_BYTES)
        found = audit(lake, None if lake_only else store, [MONTH], deep=deep)
        seconds = time.perf_counter() - started
    if (found.integrity, found.completeness) != ("holds", "holds"):
        raise AssertionError(found.all_findings)
    return {"seconds": seconds}
