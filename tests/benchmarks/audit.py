"""`audit`: the proof that one event is in a sealed month, from what a seal keeps of its tree, beside a reading of the month's leaves;
finding a text, see `find`; evidence of one conversation, see `evidence`; an erasure, see `erase`; and a scrub, see `scrub`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import duckdb
import pyarrow.parquet as pq

from pipelines.export.seal import month_bounds_us
from pipelines.lake.datasets import EVENTS, MERKLE_NODES, STREAM_MONTHS
from pipelines.lake.lake import Lake
from pipelines.proof.inclusion import prove_inclusion, read_nodes
from pipelines.proof.parts import lay_out
from pipelines.proof.scan import scan_month
from tests.benchmarks import erase, evidence, find, scrub
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import MONTH, write_lake
from tests.benchmarks.rounds import Bench, Measure

_SECONDS = Target("at most", 0.2, of="figure")
_MEMORY_BYTES = 10**9
_PROOFS = 20
_LEAVES = ["hash", "epoch", "xid", "position"]


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `audit`."""
    root = bench.folder / "lake"
    bench.tell(f"a lake of {bench.events:,} events, and the nodes of its tree")
    lake = write_lake(root, bench.events)
    files = lake.files(EVENTS.name, {"month": MONTH})
    with duckdb.connect() as connection:
        heads = lake.files(STREAM_MONTHS.name, {"month": MONTH})
        scan = scan_month(lay_out(files), month_bounds_us(MONTH), heads, connection, memory_bytes=_MEMORY_BYTES)
        connection.execute("CREATE TABLE nodes (tree VARCHAR, level INTEGER, place BIGINT, hash BLOB)")
        connection.executemany("INSERT INTO nodes VALUES (?, ?, ?, ?)", [["events", *node] for node in scan.nodes])
        lake.write_partition(
            MERKLE_NODES, {"month": MONTH}, connection, "SELECT * FROM nodes ORDER BY ALL", input_hash="made"
        )
    assert scan.merkle_root is not None
    given = {"root": str(root), "merkle_root": scan.merkle_root.hex()}
    rounds = bench.interleave({"proof": (prove, given), "leaves": (read_leaves, {"root": str(root)})})
    yield rounds.figure(
        f"audit: proof that an event is among {scan.rows:,}",
        "s",
        ("proof", "seconds"),
        peer=("leaves", "seconds"),
        peer_name="reading the month's leaves",
        target=_SECONDS,
    )
    yield from find.run(bench)
    yield from evidence.run(bench)
    yield from erase.run(bench)
    yield from scrub.run(bench)


def prove(root: str, merkle_root: str) -> Measure:
    """Prove some events of the month, each anew; the mean. Each proof holds."""
    lake, random = Lake(Path(root)), Random(7)
    files = lake.files(EVENTS.name, {"month": MONTH})
    with duckdb.connect() as connection:
        wanted = connection.sql(
            "SELECT aggregate_id, stream_version FROM read_parquet($files) USING SAMPLE reservoir(1000 ROWS) REPEATABLE (7)",
            params={"files": files},
        ).fetchall()
    chosen = random.sample(wanted, _PROOFS)
    started = time.perf_counter()
    for stream, version in chosen:
        nodes = read_nodes(lake.files(MERKLE_NODES.name, {"month": MONTH}))
        proof = prove_inclusion(lay_out(lake.files(EVENTS.name, {"month": MONTH})), nodes, stream, version)
        assert proof.holds(bytes.fromhex(merkle_root))
    return {"seconds": (time.perf_counter() - started) / _PROOFS}


def read_leaves(root: str) -> Measure:
    """Read what the month's leaves are made of."""
    lake = Lake(Path(root))
    started = time.perf_counter()
    for file in lake.files(EVENTS.name, {"month": MONTH}):
        pq.read_table(file, columns=_LEAVES)
    return {"seconds": time.perf_counter() - started}
