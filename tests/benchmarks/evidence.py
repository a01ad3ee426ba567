"""What evidence for one conversation of a large log costs: store, lake and month opened anew for each, as the verb does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import duckdb
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.duck import quote_literal
from pipelines.evidence.bundle import BundleMaker
from pipelines.evidence.chosen import choose_stream
from pipelines.export.seal import month_bounds_us
from pipelines.export.snapshot import month_bounds
from pipelines.lake.datasets import EVENTS, MERKLE_NODES, STREAM_MONTHS
from pipelines.lake.lake import Lake
from pipelines.proof.chain import CONTENT, HEADER, START
from pipelines.proof.manifest import FileList, Manifest
from pipelines.proof.parts import lay_out
from pipelines.proof.scan import HEADS as SCANNED
from pipelines.proof.scan import scan_month
from pipelines.store import Store, sign
from pipelines.store.connect import connect
from tests.benchmarks.databases import create_database, running_server
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.log import HEADS, MONTH, STREAM_EVENTS, write_log
from tests.benchmarks.rounds import Bench, Measure

_TIME = Target("at most", 2.0, of="figure")
_SETUP_BYTES = 6 * 10**9
"""For what makes the log, which sorts and joins all of it at once; evidence has the memory of a home by default."""
_MEMORY_BYTES = 10**9
_BUNDLES = 5
_FIRST = """
INSERT INTO links SELECT aggregate_id, stream_version, unhex(sha256($start::BLOB || content)) FROM bound WHERE stream_version = 1
"""
_LINK = """
INSERT INTO links SELECT bound.aggregate_id, bound.stream_version, unhex(sha256(links.hash || bound.content))
FROM bound INNER JOIN links ON bound.aggregate_id = links.aggregate_id AND bound.stream_version = links.stream_version + 1
WHERE bound.stream_version = $version AND links.stream_version = $version - 1
"""
_CHAINED = """
SELECT made.* REPLACE (links.hash AS hash)
FROM made INNER JOIN links ON made.aggregate_id = links.aggregate_id AND made.stream_version = links.stream_version
"""
_COPY_STREAMS = """
COPY refold.streams (aggregate_id, aggregate_type, stream_version, hash, created_at, epoch, order_xid) FROM STDIN
"""
_STREAM = """
SELECT aggregate_id::text FROM refold.streams
WHERE aggregate_type = 'conversation' AND aggregate_id >= %s::uuid ORDER BY aggregate_id LIMIT 1
"""


def run(bench: Bench) -> Iterator[Figure]:
    """The figure of one bundle, which is checked before it is handed out."""
    home, root = bench.folder / "evidence-home", bench.folder / "evidence-lake"
    bench.tell(f"a lake of {bench.events:,} events whose hashes are a chain, sealed")
    with running_server(home):
        dsn, events = seal_log(home, root, bench.events)
        given = {"dsn": dsn, "root": str(root), "folder": str(bench.folder)}
        rounds = bench.interleave({"evidence": (make_evidence, given)})
    yield rounds.figure(
        f"audit: evidence for one conversation of {events:,} events", "s", ("evidence", "seconds"), target=_TIME
    )


def seal_log(home: Path, root: Path, events: int) -> tuple[str, int]:
    """A lake with the log, chained, and a store that knows its month as sealed and its streams by their heads alone.

    What a bundle asks the store takes as long however many events it holds: they are found by stream.
    """
    path = root.with_suffix(".log.parquet")
    write_log(path, events)
    root.mkdir(exist_ok=True)  # for what a large log spills before the first table
    lake, partition = Lake(root, memory_bytes=_SETUP_BYTES), {"month": MONTH}
    dsn = create_database(home, "evidence", [month_bounds(MONTH)[0]])
    with lake.connect() as connection, connect(dsn) as conn:
        _chain(connection, path)
        lake.write_partition(EVENTS, partition, connection, _CHAINED, input_hash="made")
        lake.write_partition(
            STREAM_MONTHS, partition, connection, HEADS.replace("made", f"({_CHAINED})"), input_hash="made"
        )
        layout = lay_out(lake.files(EVENTS.name, partition))
        heads = lake.files(STREAM_MONTHS.name, partition)
        scan = scan_month(layout, month_bounds_us(MONTH), heads, connection, memory_bytes=_MEMORY_BYTES)
        assert not scan.flaws
        assert scan.merkle_root is not None
        assert scan.heads_root is not None
        kept = [["events", *node] for node in scan.nodes] + [["heads", *node] for node in scan.head_nodes]
        connection.execute("CREATE TEMP TABLE nodes (tree VARCHAR, level INTEGER, place BIGINT, hash BLOB)")
        connection.executemany("INSERT INTO nodes VALUES (?, ?, ?, ?)", kept)
        lake.write_partition(MERKLE_NODES, partition, connection, "SELECT * FROM nodes ORDER BY ALL", input_hash="made")
        roots = scan.merkle_root.hex(), scan.heads_root.hex()
        at = datetime.now(UTC).isoformat()
        store = Store(conn, dsn)
        generation = store.close_month(MONTH)
        manifest = Manifest(
            MONTH, generation, scan.rows, scan.streams, scan.first, scan.last, *roots, "bench", at, None, None
        )
        files = FileList(MONTH, generation, 1, "", (), 0, 0, None, (), "bench", at, None, None)
        store.seal_month(MONTH, sign(manifest.text(), None), sign(files.text(), None))
        with conn.cursor().copy(_COPY_STREAMS) as copy:
            for row in connection.sql(f"SELECT aggregate_id, last_version, last_hash FROM {SCANNED}").fetchall():
                copy.write_row((row[0], "conversation", *row[1:], month_bounds(MONTH)[0], 1, 1))
    path.unlink()
    return dsn, scan.rows


def _chain(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Leave the links of the log's events in `links`, a version of all streams at a time."""
    connection.execute(f"CREATE TEMP VIEW made AS SELECT * FROM read_parquet({quote_literal(str(path))})")
    connection.execute(
        f"CREATE TEMP TABLE bound AS SELECT aggregate_id, stream_version, {HEADER} || unhex(sha256({CONTENT})) AS content FROM made"
    )
    connection.execute("CREATE TEMP TABLE links (aggregate_id VARCHAR, stream_version INTEGER, hash BLOB)")
    for version in range(1, STREAM_EVENTS + 1):
        connection.execute(
            _FIRST if version == 1 else _LINK, {"start": START} if version == 1 else {"version": version}
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
