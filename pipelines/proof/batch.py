"""One part of a month, checked: every link recomputed, every leaf hashed, order and versions compared, heads noted.

A `PartScanner` belongs to one thread: it has a DuckDB of its own, which joins texts and hashes rows while other threads run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any, Literal, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.duck import is_out_of_memory
from pipelines.proof.chain import CONTENT, HEADER, IS_ERASED, IS_WHOLE, START
from pipelines.proof.merkle import (
    HASH_BYTES,
    Hashes,
    Subtree,
    hash_rows,
    leaf_data,
    leaf_hashes,
    reduce_run,
)
from pipelines.proof.parts import Part, read_part

FlawKind = Literal["broken_link", "missing_version", "repeated_version", "out_of_order", "wrong_month"]
"""broken_link: the hash is not that of the row and the link before it. The others are about the row's place."""

FLAWS_NAMED = 20
"""Flaws of one kind and part that are kept with their stream; the others are counted."""
_FEW_ROWS = 512
"""Below this, starting a query costs more than hashing in Python."""
_MEMORY = "256MB"
"""A scanner's queries stream; they hold a batch and its hashes."""

Order = tuple[int, int, int]
"""(epoch, xid, position)."""
Bools = npt.NDArray[np.bool_]
Column = Any
"""An Arrow array; its stubs know a type per type of value, which says nothing here."""


class Flaw(NamedTuple):
    """One row that does not fit: what is wrong, in which file, and which event it claims to be."""

    kind: FlawKind
    file: str
    aggregate_id: str
    stream_version: int


class Row(NamedTuple):
    """An event at the edge of a part: enough to check it against the part before."""

    aggregate_id: str
    stream_version: int
    hash: bytes


@dataclass(slots=True)
class PartScan:
    """What a part holds.

    Attributes:
        part: The part.
        first: Its first event with all columns and `created_us`; its link is checked by who joins the parts.
        last: Its last event.
        subtrees: The whole Merkle subtrees it consists of, from left to right.
        nodes: Those of `KEPT_LEVELS` that are whole in it.
        runs: One row per stream and batch: `aggregate_id, first_version, last_version, event_count, last_hash, erased_events`.
        low: Smallest (epoch, xid, position).
        high: Largest.
        counts: Flaws by kind.
        flaws: The first of them by kind.
        error: Why it could not be read to its end, or None.
    """

    part: Part
    first: dict[str, Any] | None = None
    last: Row | None = None
    subtrees: list[Subtree] = field(default_factory=list)
    nodes: list[Subtree] = field(default_factory=list)
    runs: list[pa.RecordBatch] = field(default_factory=list)
    low: Order | None = None
    high: Order | None = None
    counts: dict[FlawKind, int] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    error: str | None = None

    def note(self, kind: FlawKind, events: Iterable[tuple[str, int]], count: int) -> None:
        """Count flaws, and keep the first."""
        if count:
            self.counts[kind] = self.counts.get(kind, 0) + count
            room = max(FLAWS_NAMED - sum(flaw.kind == kind for flaw in self.flaws), 0)
            self.flaws += [Flaw(kind, self.part.file, *event) for event in islice(events, room)]


class PartScanner:
    """Scans parts, one at a time.

    Args:
        bounds_us: The month, [from, to) in microseconds since 1970.
        entering_files: Parquet files with `aggregate_id, first_version, prev_hash` per stream: the links from before.
    """

    def __init__(self, bounds_us: tuple[int, int], entering_files: list[str]) -> None:
        self._bounds = bounds_us
        self._entering = entering_files
        self._duck = duckdb.connect()
        for setting in ("TimeZone = 'UTC'", "threads = 1", f"memory_limit = '{_MEMORY}'"):
            self._duck.execute(f"SET {setting}")

    def close(self) -> None:
        """Give back its memory."""
        self._duck.close()

    def scan(self, part: Part) -> PartScan:
        """Read a part to its end, or to where it cannot be read."""
        found = PartScan(part)
        try:
            rows = 0
            for batch in read_part(part):
                if batch.num_rows:
                    self._scan_batch(found, batch, part.offset + rows)
                rows += batch.num_rows
            if rows != part.rows:
                found.error = f"it holds {rows:,} rows where its footer says {part.rows:,}"
        except (OSError, pa.ArrowException, duckdb.Error) as error:
            if is_out_of_memory(error):
                raise  # not the file's fault
            found.error = str(error).strip().splitlines()[0]
        return found

    def prev_hashes(self, streams: list[str]) -> dict[str, bytes]:
        """The links before the month, of those of the streams that began before it."""
        if not streams or not self._entering:
            return {}
        rows = self._duck.sql(
            "SELECT aggregate_id, prev_hash FROM read_parquet($files, hive_partitioning = false) "
            "WHERE first_version > 1 AND aggregate_id BETWEEN $low AND $high AND aggregate_id IN (SELECT unnest($streams))",
            params={"files": self._entering, "low": min(streams), "high": max(streams), "streams": streams},
        ).fetchall()
        return dict(rows)

    def _scan_batch(self, found: PartScan, batch: pa.RecordBatch, offset: int) -> None:
        ids = batch["aggregate_id"].fill_null("")
        versions = int_column(batch["stream_version"]).astype(np.int32)
        hashes, is_hash = binary_rows(batch["hash"])
        before = found.last
        is_start = _is_start(ids, before)
        prev_versions = np.concatenate([[before.stream_version if before else 0], versions[:-1]])
        prev = np.empty_like(hashes)
        prev[1:] = hashes[:-1]
        prev[0] = np.frombuffer(before.hash if before else START, np.uint8)
        is_deferred = np.zeros(len(ids), np.bool_)
        is_deferred[0] = before is None
        self._fill_starts(prev, ids, versions, is_start & ~is_deferred)
        is_next = is_start | (versions == prev_versions + 1)
        links, is_whole, is_erased = self._links(batch, prev)
        broken = ((links != hashes).any(axis=1) | ~is_hash | ~(is_whole | is_erased)) & is_next & ~is_deferred
        created = int_column(batch["created_at"].cast(pa.int64()))
        self._note(found, "broken_link", broken, ids, versions)
        self._note(found, "missing_version", ~is_start & (versions > prev_versions + 1), ids, versions)
        self._note(found, "repeated_version", ~is_start & (versions == prev_versions), ids, versions)
        backwards = (~is_start & (versions < prev_versions)) | (is_start & _is_before(ids, found.last))
        self._note(found, "out_of_order", backwards, ids, versions)
        self._note(found, "wrong_month", (created < self._bounds[0]) | (created >= self._bounds[1]), ids, versions)

        epochs, xids, positions = (int_column(batch[name]) for name in ("epoch", "xid", "position"))
        leaves = leaf_hashes(leaf_data(hashes, epochs.astype(np.int32), xids, positions), self._hash_rows)
        found.subtrees += reduce_run(leaves, offset, self._hash_rows, found.nodes)
        low, high = _extremes(epochs, xids, positions)
        found.low = min(found.low or low, low)
        found.high = max(found.high or high, high)
        found.runs.append(_runs(ids, versions, hashes, is_start, is_erased))
        if before is None:
            found.first = {**batch.slice(0, 1).to_pylist()[0], "created_us": int(created[0])}
        found.last = Row(ids[-1].as_py(), int(versions[-1]), hashes[-1].tobytes())

    def _fill_starts(self, prev: Hashes, ids: Column, versions: npt.NDArray[np.int32], starts: Bools) -> None:
        """Before a stream's first event of the month stands the last link from before it, or 32 zero bytes."""
        prev[starts] = 0
        later = np.flatnonzero(starts & (versions > 1))
        if len(later):
            streams: list[str] = ids.take(pa.array(later)).to_pylist()
            known = self.prev_hashes(streams)
            for at, stream in zip(later, streams, strict=True):
                prev[at] = np.frombuffer(known.get(stream, START), np.uint8)

    def _links(self, batch: pa.RecordBatch, prev: Hashes) -> tuple[Hashes, Bools, Bools]:
        """The link that each event should have, which are whole and which erased; what is neither has no link."""
        table = pa.Table.from_batches([batch])
        digests = np.array(hash_texts(self._answer(f"SELECT {CONTENT} FROM given", table)))
        is_whole, is_erased = (
            _bools(self._answer(f"SELECT {each} FROM given", table)) for each in (IS_WHOLE, IS_ERASED)
        )
        if is_erased.any():
            digests[is_erased] = binary_rows(batch["digest"])[0][is_erased]
        table = table.append_column("prev_hash", _binary(prev)).append_column("bound", _binary(digests))
        return hash_texts(self._answer(f"SELECT prev_hash || {HEADER} || bound FROM given", table)), is_whole, is_erased

    def _hash_rows(self, rows: Hashes) -> Hashes:
        if len(rows) < _FEW_ROWS:
            return hash_rows(rows)
        return binary_rows(self._answer("SELECT unhex(sha256(data)) FROM given", pa.table({"data": _binary(rows)})))[0]

    def _answer(self, query: str, given: pa.Table) -> Column:
        """The one column of a query over `given`."""
        self._duck.register("given", given)
        try:
            return self._duck.sql(query).to_arrow_table().column(0).combine_chunks()
        finally:
            self._duck.unregister("given")

    @staticmethod
    def _note(found: PartScan, kind: FlawKind, where: Bools, ids: Column, versions: npt.NDArray[np.int32]) -> None:
        places = np.flatnonzero(where)
        events = ((ids[int(at)].as_py(), int(versions[at])) for at in places)
        found.note(kind, events, len(places))


def _is_start(ids: Column, before: Row | None) -> Bools:
    """Whether each event is of another stream than the one before it."""
    starts = np.ones(len(ids), np.bool_)
    starts[1:] = _bools(pc.not_equal(ids[1:], ids[:-1]))
    starts[0] = before is None or ids[0].as_py() != before.aggregate_id
    return starts


def _is_before(ids: Column, before: Row | None) -> Bools:
    """Whether each event's stream sorts before that of the event before it."""
    backwards = np.zeros(len(ids), np.bool_)
    backwards[1:] = _bools(pc.less(ids[1:], ids[:-1]))
    backwards[0] = before is not None and ids[0].as_py() < before.aggregate_id
    return backwards


def _runs(
    ids: Column, versions: npt.NDArray[np.int32], hashes: Hashes, is_start: Bools, is_erased: Bools
) -> pa.RecordBatch:
    starts = np.flatnonzero(is_start)
    if not len(starts) or starts[0] != 0:  # the first event goes on with the batch before
        starts = np.concatenate([[0], starts])
    ends = np.append(starts[1:], len(ids))
    return pa.RecordBatch.from_arrays(
        [
            ids.take(pa.array(starts)),
            pa.array(np.minimum.reduceat(versions, starts)),
            pa.array(np.maximum.reduceat(versions, starts)),
            pa.array(ends - starts),
            _binary(np.ascontiguousarray(hashes[ends - 1])),
            pa.array(np.add.reduceat(is_erased, starts, dtype=np.int32)),
        ],
        ["aggregate_id", "first_version", "last_version", "event_count", "last_hash", "erased_events"],
    )


def _extremes(
    epochs: npt.NDArray[np.int64], xids: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]
) -> tuple[Order, Order]:
    def end(pick: Any) -> Order:
        epoch = pick(epochs)
        of_epoch = epochs == epoch
        xid = pick(xids[of_epoch])
        return int(epoch), int(xid), int(pick(positions[of_epoch & (xids == xid)]))

    return end(np.min), end(np.max)


def hash_texts(column: Column) -> Hashes:
    """SHA-256 of every value of a binary column without nulls, by hashlib: it uses the processor's own instructions.

    For short rows of one width, of which there are as many again, DuckDB is as fast and holds no lock of Python's.
    """
    column = column.cast(pa.large_binary())
    _, offsets, values = column.buffers()
    bounds = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1].tolist()
    view = memoryview(values) if values is not None else memoryview(b"")
    digests = b"".join([hashlib.sha256(view[start:stop]).digest() for start, stop in pairwise(bounds)])
    return np.frombuffer(digests, np.uint8).reshape(-1, HASH_BYTES)


def int_column(column: Column) -> npt.NDArray[np.int64]:
    """A column of integers; null, which no event has, is 0."""
    values: npt.NDArray[np.int64] = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return values


def _bools(column: Column) -> Bools:
    values: Bools = column.to_numpy(zero_copy_only=False)
    return values


def binary_rows(column: Column) -> tuple[Hashes, Bools]:
    """A binary column as rows of 32 bytes, and which values were that; the others are zeros."""
    column = column.fill_null(b"")
    is_hash = int_column(pc.binary_length(column)) == HASH_BYTES
    if not is_hash.all():
        column = pc.if_else(pa.array(is_hash), column, pa.scalar(START, column.type))
    fixed = column.cast(pa.binary(HASH_BYTES))
    values = fixed.buffers()[1]
    assert values is not None
    rows = np.frombuffer(memoryview(values), np.uint8)[fixed.offset * HASH_BYTES :][: len(fixed) * HASH_BYTES]
    return rows.reshape(-1, HASH_BYTES), is_hash


def _binary(rows: Hashes) -> Column:
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows).data)]
    )
