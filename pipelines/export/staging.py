"""From a snapshot of the store to sorted Parquet files that no reader sees yet.

Two phases, each on as many threads as cores and memory allow: read and put aside sorted runs; then merge one range of
keys after another and write it. Each thread of the second phase writes one file, so files follow one another in the
order of keys, as their names do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pipelines.export.files import EventFile
from pipelines.export.reading import SCHEMA, SnapshotReader
from pipelines.export.sorting import Bucket, Run, Sorter, plan_buckets, read_bucket
from pipelines.export.spool import Place, Spool
from pipelines.lake.memory import free_bytes, give_back
from pipelines.lake.partition import PartitionWriter

_MB = 2**20
_MAX_THREADS = 4
"""The server's own COPY is as busy as two of them."""
_ROWS_PER_THREAD = 100_000
"""Fewer are read and written sooner than another connection is made."""
_BUCKET_ROWS = 122_880
"""Rows that are put in order at a time, at most; of fewer, the chunks across a bucket's ends would be too large a share."""
_LIBRARIES = 96 * _MB
"""What DuckDB, Delta and PostgreSQL's client take for themselves when they begin to work."""
_MIN_SHARE = 96 * _MB
"""Memory that makes one more thread worth having."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shares:
    """How the memory that is left is divided.

    Attributes:
        threads: Threads at a time.
        run_bytes: Rows that a reading thread holds; sorting them takes as much again, and a little.
        bucket_bytes: Rows that a writing thread holds; they are there three times while they are put in order, and once
            more compressed.
        batch_bytes: Rows that come from the server at a time.
    """

    threads: int
    run_bytes: int
    bucket_bytes: int
    batch_bytes: int

    @classmethod
    def of(cls, memory_bytes: int, rows: int) -> Shares:
        """Divide what the process may still take of `memory_bytes`, for a month of `rows` events."""
        free = max(free_bytes(memory_bytes) - _LIBRARIES, 0)
        threads = max(min(_MAX_THREADS, _cores(), free // _MIN_SHARE, rows // _ROWS_PER_THREAD), 1)
        share = max(free // threads, 24 * _MB)
        run_bytes = min(share // 3, 64 * _MB)
        return cls(threads, run_bytes, min(share // 6, 48 * _MB), min(max(run_bytes // 8, _MB), 8 * _MB))


@dataclass(frozen=True, slots=True)
class Staged:
    """What is written and not committed.

    Attributes:
        rows: Events in the files.
        heads: Where the heads of their streams are, in order; batches of `HEADS`.
    """

    rows: int
    heads: list[Place]


class _Stopped(Exception):  # noqa: N818 -- no error: another thread's is the one to tell
    """Another thread failed."""


class Stage:
    """One export's way from the store to files.

    Args:
        dsn: The store.
        token: The snapshot.
        spool: Where rows are put aside.
        shares: Memory and threads.
        on_rows: Called with the number of rows read so far, by one thread at a time.
    """

    def __init__(
        self, dsn: str, token: str, spool: Spool, shares: Shares, on_rows: Callable[[int], None] | None = None
    ) -> None:
        self._dsn = dsn
        self._token = token
        self._spool = spool
        self._shares = shares
        self._on_rows = on_rows
        self._rows = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def write(self, writer: PartitionWriter, conditions: Sequence[str]) -> Staged:
        """Read the events that meet any of `conditions`, one thread each, and write them sorted.

        Raises:
            StoreUnavailable: The server went away.
            OSError: The disk is full, or cannot be written.
        """
        sorters = self._in_parallel([partial(self._read, each) for each in conditions])
        runs = [run for sorter in sorters for run in sorter.runs]
        buckets = plan_buckets(runs, _BUCKET_ROWS, self._shares.bucket_bytes)
        parts = [(EventFile(writer), part) for part in _divide(buckets, self._shares.threads)]
        written = self._in_parallel([partial(self._write, file, part, runs) for file, part in parts])
        return Staged(sum(rows for rows, _heads in written), [head for _rows, heads in written for head in heads])

    def _read(self, condition: str) -> Sorter:
        sorter = Sorter(self._spool, self._shares.run_bytes)
        with (
            closing(SnapshotReader(self._dsn, self._token)) as reader,
            closing(reader.read_events(condition, self._shares.batch_bytes)) as batches,
        ):
            for batch in batches:
                self._go_on(batch.num_rows)
                sorter.add(batch)
        sorter.flush()
        give_back()
        return sorter

    def _write(self, file: EventFile, buckets: Sequence[Bucket], runs: Sequence[Run]) -> tuple[int, list[Place]]:
        heads = []
        for bucket in buckets:
            self._go_on(0)
            found = read_bucket(self._spool, runs, SCHEMA, bucket)
            if found is not None:
                heads.append(self._spool.put(file.write(*found)))
            del found  # a bucket is not held while the next is read
        rows = file.close()
        give_back()
        return rows, heads

    def _go_on(self, rows: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        if rows and self._on_rows is not None:
            with self._lock:
                self._rows += rows
                self._on_rows(self._rows)

    def _in_parallel(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Results in order; when one fails the others stop, and its error is raised."""
        if not tasks:
            return []
        with ThreadPoolExecutor(len(tasks), thread_name_prefix="export") as pool:
            futures = [pool.submit(task) for task in tasks]
            try:
                done, running = wait(futures, return_when=FIRST_EXCEPTION)
                if running or any(future.exception() for future in done):
                    self._stop.set()
                    wait(futures)
            except BaseException:
                self._stop.set()
                raise
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in errors:
            if not isinstance(error, _Stopped):
                raise error
        return [future.result() for future in futures]


def divide_table(where: str, blocks: int, parts: int) -> list[str]:
    """A condition as `parts` conditions that together mean the same and share no row, about as large as each other.

    Rows are divided by where they lie, which the server finds without looking at the others. Whatever `blocks` says, the
    parts hold every row of every partition once: places do not change under a snapshot.
    """
    cuts = [f"'({blocks * part // parts},0)'::tid" for part in range(1, parts)]
    lows = ["", *(f" AND ctid >= {cut}" for cut in cuts)]
    highs = [*(f" AND ctid < {cut}" for cut in cuts), ""]
    return [f"{where}{low}{high}" for low, high in zip(lows, highs, strict=True)]


def _divide(buckets: Sequence[Bucket], parts: int) -> list[list[Bucket]]:
    """Consecutive buckets in at most `parts` groups of about the same size."""
    total = sum(bucket.size for bucket in buckets)
    groups: list[list[Bucket]] = [[] for _ in range(parts)]
    before = 0
    for bucket in buckets:
        groups[min(before * parts // max(total, 1), parts - 1)].append(bucket)
        before += bucket.size
    return [group for group in groups if group]


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
