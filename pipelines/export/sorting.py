"""Sort the rows of a month by (aggregate_id, stream_version) within a bound on memory, whatever the month's size.

An external sort by regular sampling. Rows come in any order; about `run_bytes` of them at a time are sorted and put
aside as a run, cut into chunks. The last keys of all chunks are a regular sample of the month, so buckets, ranges of
keys that hold about as much as wanted, are found without knowing how keys are distributed. A bucket reads from each run
the chunks of its range, is sorted, and is complete: buckets follow one another in the order of keys and share no key.

A bucket ends between two streams, unless one stream alone is larger than a bucket. So a bucket is a row group.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.export.arrays import concat_batches, integers, numbers_in
from pipelines.export.spool import Place, Spool

Key = tuple[int, int, int]
"""Stream id as two unsigned 64-bit numbers, most significant first, and stream_version."""

_CHUNK_ROWS = 1024
_CHUNKS_PER_RUN = 128
"""A chunk holds so many rows, and so large a share of a run, at most. Less would cost more to read than its rows do; of
more, the chunks that lie across the end of a bucket, one a run, would outweigh the bucket."""

_Unsigned = npt.NDArray[np.uint64]
_Integers = npt.NDArray[np.int32]
_Order = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a batch, row by row: halves of the stream id, and stream_version."""

    high: _Unsigned
    low: _Unsigned
    version: _Integers

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Keys:
        """Read the keys of a batch whose columns `aggregate_id` (16 bytes) and `stream_version` have no nulls."""
        halves = numbers_in(batch.column("aggregate_id"), ">u8", np.uint64, per_row=2).reshape(-1, 2)
        version = numbers_in(batch.column("stream_version"), "=i4", np.int32)
        return cls(np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1]), version)

    def __len__(self) -> int:
        return len(self.version)

    def __getitem__(self, row: int) -> Key:
        return int(self.high[row]), int(self.low[row]), int(self.version[row])

    def take(self, order: _Order) -> Keys:
        """The keys in another order."""
        return Keys(self.high[order], self.low[order], self.version[order])

    def find(self, key: Key) -> int:
        """First row whose key is not below `key`; the keys are sorted."""
        columns: list[npt.NDArray[Any]] = [self.high, self.low, self.version]
        first, stop = 0, len(self)
        for column, value in zip(columns, key, strict=True):
            part = column[first:stop]
            wanted = column.dtype.type(value)
            low, high = np.searchsorted(part, wanted), np.searchsorted(part, wanted, "right")
            first, stop = first + int(low), first + int(high)
            if first == stop:
                break
        return first

    def starts_stream(self) -> npt.NDArray[np.bool_]:
        """Whether each row's stream differs from that of the row before; true for the first."""
        starts = np.ones(len(self), dtype=bool)
        starts[1:] = (self.high[1:] != self.high[:-1]) | (self.low[1:] != self.low[:-1])
        return starts

    def sorting(self) -> _Order:
        """The order that sorts them."""
        # Ids are nearly always told apart by their first half, and versions of a stream nearly always come in order: one
        # stable sort of one column, and a look whether that was all.
        order = np.argsort(self.high, kind="stable")
        keys = self.take(order)
        same = keys.high[1:] == keys.high[:-1]
        low_falls = keys.low[1:] < keys.low[:-1]
        version_falls = (keys.low[1:] == keys.low[:-1]) & (keys.version[1:] < keys.version[:-1])
        if (same & (low_falls | version_falls)).any():
            order = np.lexsort((self.version, self.low, self.high))
        return order


@dataclass(frozen=True, slots=True)
class Chunk:
    """A sorted piece of a run: its first and last key, its rows and bytes, and where it lies."""

    first: Key
    last: Key
    rows: int
    size: int
    place: Place


class Run:
    """Sorted rows of one reader, as chunks in order."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.chunks = chunks
        self._firsts = [chunk.first for chunk in chunks]

    def touched_by(self, bucket: Bucket) -> Sequence[Chunk]:
        """The chunks that may hold rows of a bucket."""
        begin = max(bisect_right(self._firsts, bucket.first) - 1, 0)
        end = len(self._firsts) if bucket.stop is None else bisect_left(self._firsts, bucket.stop)
        return self.chunks[begin:end]


class Sorter:
    """Takes the rows of one reader, and puts them aside as sorted runs.

    Args:
        spool: Where runs go.
        run_bytes: How much is held and sorted at a time.
    """

    def __init__(self, spool: Spool, run_bytes: int) -> None:
        self.runs: list[Run] = []
        self._spool = spool
        self._run_bytes = run_bytes
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        if self._pending_bytes >= self._run_bytes:
            self.flush()

    def flush(self) -> None:
        """Put aside what is held."""
        if not self._pending:
            return
        batch = concat_batches(self._pending)
        share = self._run_bytes * batch.num_rows // (_CHUNKS_PER_RUN * max(self._pending_bytes, 1))
        rows_per_chunk = max(min(_CHUNK_ROWS, share), 1)
        self._pending, self._pending_bytes = [], 0
        keys = Keys.of(batch)
        order = keys.sorting()
        run = []
        for start in range(0, batch.num_rows, rows_per_chunk):
            rows = order[start : start + rows_per_chunk]
            chunk = batch.take(integers(rows))
            first, last = keys[int(rows[0])], keys[int(rows[-1])]
            run.append(Chunk(first, last, len(rows), chunk.nbytes, self._spool.put(chunk)))
        self.runs.append(Run(run))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A range of keys: from `first`, included, to `stop`, excluded; None is the end. `size` is about what it holds."""

    first: Key
    stop: Key | None
    size: int


def plan_buckets(runs: Sequence[Run], max_rows: int, max_bytes: int) -> list[Bucket]:
    """Cut the keys of all runs into buckets of about `max_rows` rows and `max_bytes` bytes, whichever is less.

    A chunk is counted where it ends. So a bucket holds what was counted, and of each run at most one chunk more.
    """
    chunks = sorted((chunk for run in runs for chunk in run.chunks), key=lambda chunk: chunk.last)
    buckets: list[Bucket] = []
    first: Key = (0, 0, 0)
    rows = size = own_rows = own_bytes = 0  # own: of chunks that lie in the bucket as a whole
    for chunk in chunks:
        if rows and (rows + chunk.rows > max_rows or size + chunk.size > max_bytes):
            high, low, _version = chunk.last
            cut: Key = (high, low, 0)
            # Between two streams; inside one only when it alone is more than a bucket.
            if cut <= first and (own_rows + chunk.rows > max_rows or own_bytes + chunk.size > max_bytes):
                cut = chunk.last
            if cut > first:
                buckets.append(Bucket(first, cut, size))
                first, rows, size, own_rows, own_bytes = cut, 0, 0, 0, 0
        rows += chunk.rows
        size += chunk.size
        if chunk.first >= first:
            own_rows += chunk.rows
            own_bytes += chunk.size
    if rows:
        buckets.append(Bucket(first, None, size))
    return buckets


def read_bucket(
    spool: Spool, runs: Sequence[Run], schema: pa.Schema, bucket: Bucket
) -> tuple[pa.RecordBatch, Keys] | None:
    """The rows of a bucket and their keys, sorted; None when it holds none."""
    pieces = list(_pieces(spool, runs, schema, bucket))
    if not pieces:
        return None
    batch = concat_batches(pieces)
    pieces.clear()
    keys = Keys.of(batch)
    order = keys.sorting()
    return batch.take(integers(order)), keys.take(order)


def _pieces(spool: Spool, runs: Sequence[Run], schema: pa.Schema, bucket: Bucket) -> Iterator[pa.RecordBatch]:
    for run in runs:
        touched = run.touched_by(bucket)
        for chunk in touched:
            batch = spool.get(chunk.place, schema)
            if chunk is touched[0] or chunk is touched[-1]:
                keys = Keys.of(batch)
                start = keys.find(bucket.first)
                stop = len(keys) if bucket.stop is None else keys.find(bucket.stop)
                batch = batch.slice(start, max(stop - start, 0))
            if batch.num_rows:
                yield batch
