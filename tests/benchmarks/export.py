"""`export`: a month of the store into the lake, against the server's own COPY of the same rows to nowhere, and peers.

Peers write the same rows unsorted to one zstd Parquet file. A quarter of the month shows how costs grow with it: with
`--events 12000000` that is 12 M against 3 M.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import psycopg

from pipelines.export.month import export_month
from pipelines.export.snapshot import month_bounds
from pipelines.lake.lake import Lake
from tests.benchmarks.databases import create_database, running_server
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, write_log
from tests.benchmarks.peers import PACKAGES, export_by_peer, install
from tests.benchmarks.rounds import Bench, Measure, Trial, TrialFailed
from tests.benchmarks.stored import fill_store

TIME = Target("at most", 2.8)
MEMORY = Target("at most", 1.0)
SIZE = Target("at most", 1.0)
GROWTH = Target("at most", 1.25)
FASTER = Target("at most", 1.0)
SHARE_OF_TABLE = 0.10
HASH_BYTES = 34
"""A SHA-256 is 32 bytes that no compression makes smaller; Parquet adds about 2."""

LEAST_FOR_PEERS, MOST_FOR_PEERS = 10_000, 3_000_000
"""With fewer events the figure would be of how they start; some hold all rows in memory."""
_MEMORY_BYTES = 10**9
_COPY = """
COPY (
    SELECT
        aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata, created_at, epoch, xid,
        position, hash, salt, digest
    FROM refold.events
    WHERE created_at >= '{start}' AND created_at < '{stop}'
) TO '/dev/null' (FORMAT binary)
"""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `export`."""
    path = bench.folder / "log.parquet"
    write_log(path, bench.events)
    home = bench.folder / "home"
    start, stop = month_bounds(MONTH)
    with running_server(home):
        bench.tell(f"filling stores with {bench.events:,} events and with a quarter of them")
        stores = {name: create_database(home, name, [start]) for name in ("full", "quarter")}
        events, table_bytes = fill_store(stores["full"], path, bench.events)
        few, _ = fill_store(stores["quarter"], path, bench.events // 4)
        trials: dict[str, Trial] = {
            "export": (export, {"dsn": stores["full"], "folder": str(bench.folder)}),
            "copy": (copy_to_nowhere, {"dsn": stores["full"]}),
            "quarter": (export, {"dsn": stores["quarter"], "folder": str(bench.folder)}),
        }
        given = {"dsn": stores["full"], "start": start.isoformat(), "stop": stop.isoformat()}
        for peer, python in _installed(bench).items():
            trials[peer] = (export_by_peer, {"python": python, "peer": peer, "path": str(bench.folder / peer), **given})
        rounds = bench.interleave(trials)
    yield rounds.figure(
        f"export: {events:,} events",
        "s",
        ("export", "seconds"),
        peer=("copy", "seconds"),
        peer_name="COPY to /dev/null",
        target=TIME,
    )
    yield Figure("export: rate", "events/s", events / rounds.median(("export", "seconds")))
    each, each_of_few = (rounds.median((name, "seconds")) / n for name, n in (("export", events), ("quarter", few)))
    growth = rounds.ratio(("export", "seconds"), ("quarter", "seconds")) * few / events
    yield Figure("export: time of one event", "µs", each * 1e6, f"of {few:,} events", each_of_few * 1e6, growth, GROWTH)
    for name, n in (("export", events), ("quarter", few)):
        peak = rounds.median((name, "peak_bytes"))
        limit = _MEMORY_BYTES
        yield Figure(
            f"export: peak memory, {n:,} events", "MB", peak / 1e6, "REFOLD_MEMORY", limit / 1e6, peak / limit, MEMORY
        )
    size = rounds.median(("export", "size_bytes"))
    allowed = SHARE_OF_TABLE * table_bytes + HASH_BYTES * events
    yield Figure(
        "export: lake size", "MB", size / 1e6, "0.10 of the table + 34 B/event", allowed / 1e6, size / allowed, SIZE
    )
    for peer in PACKAGES:
        if peer in trials:
            peak = rounds.median((peer, "peak"))
            yield rounds.figure(
                f"export: against {peer}",
                "s",
                ("export", "seconds"),
                peer=(peer, "seconds"),
                peer_name=f"{peer}, unsorted, {peak / 1e6:,.0f} MB",
                target=FASTER,
            )


def _installed(bench: Bench) -> dict[str, str]:
    """The peers that can be installed here, and their Pythons; why another cannot is told."""
    found = {}
    if not LEAST_FOR_PEERS <= bench.events <= MOST_FOR_PEERS:
        bench.tell(f"no peers: they are measured from {LEAST_FOR_PEERS:,} to {MOST_FOR_PEERS:,} events")
        return found
    for peer in PACKAGES:
        try:
            found[peer] = install(bench.folder, peer)
        except TrialFailed as error:
            bench.tell(f"no figure against {peer}: {error}")
    return found


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
