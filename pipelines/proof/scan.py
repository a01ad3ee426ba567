"""A whole month, scanned: parts side by side in threads, joined in order into root, heads and flaws.

Memory is a few batches per thread, whatever the month holds; the heads are a DuckDB table, which spills. Damage is an
observation, not an error: what does not fit is noted, what cannot be read is named, and the rest is still checked.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.proof.batch import Flaw, FlawKind, Order, PartScan, PartScanner, Row
from pipelines.proof.chain import START, link
from pipelines.proof.heads import heads_root
from pipelines.proof.merkle import Frontier, Subtree
from pipelines.proof.parts import Layout, Part

HEADS = "scanned_heads"
"""Temporary table that a scan leaves: one row per stream, as the files hold it, with how many of its events are erased."""
_WORKER_BYTES = 150 * 10**6
"""About what one thread needs: a batch decoded, its texts joined for hashing, and its hashes."""

_CREATE_RUNS = """
CREATE OR REPLACE TEMP TABLE scanned_runs (
    aggregate_id VARCHAR, first_version INTEGER, last_version INTEGER, event_count BIGINT, last_hash BLOB,
    erased_events INTEGER
)
"""
_CREATE_HEADS = f"""
CREATE OR REPLACE TEMP TABLE {HEADS} AS
SELECT
    aggregate_id, min(first_version) AS first_version, max(last_version) AS last_version,
    sum(event_count)::BIGINT AS event_count, arg_max(last_hash, last_version) AS last_hash,
    sum(erased_events)::INTEGER AS erased_events
FROM scanned_runs
GROUP BY aggregate_id
"""


@dataclass(slots=True)
class Scan:
    """What a month's files hold.

    Attributes:
        rows: Events read.
        streams: Streams read; their heads are in the temporary table `scanned_heads`.
        merkle_root: Root over all events, None when some could not be read.
        nodes: Whole subtrees of `KEPT_LEVELS`, by level and place; none when some could not be read.
        heads_root: Root over the heads, None likewise; see `heads_root`.
        head_nodes: Nodes to keep of that tree, likewise.
        first: Smallest (epoch, xid, position); None without events.
        last: Largest.
        counts: Flaws by kind.
        flaws: The first of them by kind and part.
        unreadable: Files that could not be read to their end, with the reason.
    """

    rows: int = 0
    streams: int = 0
    merkle_root: bytes | None = None
    nodes: list[Subtree] = field(default_factory=list)
    heads_root: bytes | None = None
    head_nodes: list[Subtree] = field(default_factory=list)
    first: Order | None = None
    last: Order | None = None
    counts: dict[FlawKind, int] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def scan_month(
    layout: Layout,
    bounds_us: tuple[int, int],
    entering_files: list[str],
    connection: duckdb.DuckDBPyConnection,
    *,
    memory_bytes: int,
    on_rows: Callable[[int, int], Any] | None = None,
) -> Scan:
    """Scan a month and leave the heads of its streams in `scanned_heads` of `connection`.

    Args:
        layout: The month's parts.
        bounds_us: The month, [from, to) in microseconds since 1970.
        entering_files: The month's files of `stream_months`, for the links from before the month.
        connection: Where the heads go.
        memory_bytes: Bound on the process; half of it is for the threads.
        on_rows: Called with the number of events checked so far, and of events to check.
    """
    joined = _Joined(Scan(unreadable=dict(layout.unreadable)))
    connection.execute(_CREATE_RUNS)
    with _scanners(bounds_us, entering_files, memory_bytes) as (pool, scanner):
        for found in _in_order(pool, lambda part: scanner().scan(part), layout.parts):
            joined.add(found, scanner)
            for runs in found.runs:
                connection.register("runs", pa.Table.from_batches([runs]))
                connection.execute("INSERT INTO scanned_runs SELECT * FROM runs")
                connection.unregister("runs")
            if on_rows is not None:
                on_rows(joined.scan.rows, layout.rows)
    connection.execute(_CREATE_HEADS)
    connection.execute("DROP TABLE scanned_runs")
    scan = joined.scan
    scan.streams = connection.sql(f"SELECT count(*) FROM {HEADS}").fetchall()[0][0]
    if not scan.unreadable:
        scan.merkle_root = joined.frontier.root()
        scan.nodes = sorted(joined.nodes)
        scan.heads_root = heads_root(connection, HEADS, scan.head_nodes)
        scan.head_nodes.sort()
    return scan


class _Joined:
    """Puts parts together in order: what crosses from one to the next is checked here, in Python."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.nodes: list[Subtree] = []
        self.frontier = Frontier(self.nodes)
        self._last: Row | None = None

    def add(self, found: PartScan, scanner: Callable[[], PartScanner]) -> None:
        scan = self.scan
        if found.error is not None:
            scan.unreadable[found.part.file] = found.error
            self._last = None  # what follows is checked as if it were the beginning
            return
        if found.first is None:
            return
        self._check_first(found, found.first, scanner)
        self._last = found.last
        scan.rows += found.part.rows
        for kind, count in found.counts.items():
            scan.counts[kind] = scan.counts.get(kind, 0) + count
        scan.flaws += found.flaws
        if not scan.unreadable:
            self.frontier.add(found.subtrees)
            self.nodes += found.nodes
        assert found.low is not None
        assert found.high is not None
        scan.first = min(scan.first or found.low, found.low)
        scan.last = max(scan.last or found.high, found.high)

    def _check_first(self, found: PartScan, event: dict[str, Any], scanner: Callable[[], PartScanner]) -> None:
        stream, version, before = str(event["aggregate_id"]), int(event["stream_version"] or 0), self._last
        prev: bytes | None = START
        if before is not None and before.aggregate_id == stream:
            prev = before.hash if version == before.stream_version + 1 else None
            kind = _misplaced(version, before.stream_version)
            if kind is not None:
                found.note(kind, [(stream, version)], 1)
        else:
            if before is not None and stream < before.aggregate_id:
                found.note("out_of_order", [(stream, version)], 1)
            if version > 1:
                # After a part that could not be read, the link before may be in it.
                known = scanner().prev_hashes([stream]).get(stream)
                prev = None if before is None and self.scan.unreadable else known or START
        if prev is not None and link(prev, event) != event["hash"]:
            found.note("broken_link", [(stream, version)], 1)


def _misplaced(version: int, before: int) -> FlawKind | None:
    if version == before + 1:
        return None
    if version == before:
        return "repeated_version"
    return "missing_version" if version > before else "out_of_order"


@contextmanager
def _scanners(
    bounds_us: tuple[int, int], entering_files: list[str], memory_bytes: int
) -> Iterator[tuple[ThreadPoolExecutor, Callable[[], PartScanner]]]:
    """A pool of threads, and a function that gives each thread its own scanner."""
    threads = max(min(os.cpu_count() or 1, memory_bytes // 2 // _WORKER_BYTES), 1)
    local, made = threading.local(), []

    def scanner() -> PartScanner:
        if not hasattr(local, "scanner"):
            local.scanner = PartScanner(bounds_us, entering_files)
            made.append(local.scanner)
        found: PartScanner = local.scanner
        return found

    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="scan") as pool:
            yield pool, scanner
    finally:
        for each in made:
            each.close()


def _in_order(pool: ThreadPoolExecutor, work: Callable[[Part], PartScan], parts: Sequence[Part]) -> Iterator[PartScan]:
    """Results in the order of the parts; only a few are ahead, so that results do not pile up."""
    waiting: deque[Future[PartScan]] = deque()
    rest = iter(parts)
    try:
        for part in islice(rest, pool._max_workers + 2):  # noqa: SLF001 - the pool's size is not kept elsewhere
            waiting.append(pool.submit(work, part))
        while waiting:
            yield waiting.popleft().result()
            for part in islice(rest, 1):
                waiting.append(pool.submit(work, part))
    finally:
        for future in waiting:
            future.cancel()
