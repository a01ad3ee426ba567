"""What evidence for one conversation of a large log costs: store, lake and month opened anew for each, as the verb does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.evidence.bundle import BundleMaker
from pipelines.evidence.chosen import choose_stream
from pipelines.export.seal import seal_month
from pipelines.export.snapshot import month_bounds
from pipelines.lake.lake import Lake
from pipelines.store import Store
from pipelines.store.connect import connect
from tests.benchmarks.databases import create_database, running_server
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, write_log
from tests.benchmarks.rounds import Bench, Measure
from tests.benchmarks.stored import fill_store

_TIME = Target("at most", 2.0, of="figure")
_MEMORY_BYTES = 10**9
_BUNDLES = 5
_STREAM = """
SELECT aggregate_id::text FROM refold.streams
WHERE aggregate_type = 'conversation' AND aggregate_id >= %s::uuid ORDER BY aggregate_id LIMIT 1
"""


def run(bench: Bench) -> Iterator[Figure]:
    """The figure of one bundle, beside checking it."""
    log, home, root = bench.folder / "evidence.parquet", bench.folder / "evidence-home", bench.folder / "evidence-lake"
    write_log(log, bench.events)
    with running_server(home):
        bench.tell(f"a store with {bench.events:,} events, sealed")
        dsn = create_database(home, "evidence", [month_bounds(MONTH)[0]])
        events, _ = fill_store(dsn, log, bench.events)
        with connect(dsn) as conn:
            seal_month(Store(conn, dsn), Lake(root, memory_bytes=_MEMORY_BYTES), MONTH)
        given = {"dsn": dsn, "root": str(root), "folder": str(bench.folder)}
        rounds = bench.interleave({"evidence": (make_evidence, given)})
    yield rounds.figure(
        f"audit: evidence for one conversation of {events:,} events", "s", ("evidence", "seconds"), target=_TIME
    )


def make_evidence(dsn: str, root: str, folder: str) -> Measure:
    """Evidence of some conversations, everything opened anew for each; the mean. Each is checked before it is handed out."""
    random, key = Random(7), Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    total = 0.0
    for number in range(_BUNDLES):
        with connect(dsn) as conn:
            found = conn.execute(_STREAM.encode(), [f"{random.getrandbits(127):032x}"]).fetchone()
        assert found is not None
        started = time.perf_counter()
        with connect(dsn) as conn:
            store, lake = Store(conn, dsn), Lake(Path(root), memory_bytes=_MEMORY_BYTES)
            chosen = choose_stream(store, lake, found[0])
            made = BundleMaker(store, lake, "bench.example.org", key).make(
                chosen, Path(folder) / f"bundle-{number}", "x"
            )
        total += time.perf_counter() - started
        assert made.sealed == (MONTH,)
    return {"seconds": total / _BUNDLES}
