"""Proof that one event is in a sealed month: what anybody needs beside the manifest to check it without the month."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.proof.batch import binary_rows, int_column
from pipelines.proof.merkle import (
    HASH_BYTES,
    KEPT_LEVELS,
    Frontier,
    Hashes,
    ProofError,
    Subtree,
    leaf_data,
    leaf_hashes,
    merkle_root,
    path_ranges,
    reduce_run,
    verify_inclusion,
)
from pipelines.proof.parts import Layout, group_bounds

_COLUMNS = ("aggregate_id", "stream_version", "epoch", "xid", "position", "hash")
_NODES = """
WITH nodes AS (
    SELECT NULL::VARCHAR AS tree WHERE false
    UNION ALL BY NAME
    FROM read_parquet($files, hive_partitioning = false, union_by_name = true)
)
SELECT level, place, hash FROM nodes WHERE coalesce(tree, 'events') = $tree ORDER BY ALL
"""
"""Files of before heads' nodes were kept do not say of which tree theirs are."""
_STRETCH = 1 << KEPT_LEVELS[0]
"""Leaves that are read beside one that is proven."""


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """One event's place in a month's Merkle tree.

    Attributes:
        aggregate_id: The stream.
        stream_version: The event's version in it.
        hash: Its chain hash, which its content and the link before it give.
        epoch: Part of its leaf, as are `xid` and `position`.
        xid: See `epoch`.
        position: See `epoch`.
        index: Number of the leaf, from 0: events are in order of (aggregate_id, stream_version).
        size: Leaves of the tree: the month's events, as its manifest says.
        path: Sibling hashes from the leaf to the root.
    """

    aggregate_id: str
    stream_version: int
    hash: bytes
    epoch: int
    xid: int
    position: int
    index: int
    size: int
    path: tuple[bytes, ...]

    def holds(self, merkle_root: bytes) -> bool:
        """Whether the event is in the month whose manifest names this root."""
        hashes = np.frombuffer(self.hash, np.uint8).reshape(1, -1)
        data = leaf_data(
            hashes,
            np.array([self.epoch], np.int32),
            np.array([self.xid], np.int64),
            np.array([self.position], np.int64),
        )
        return verify_inclusion(leaf_hashes(data).tobytes(), self.index, self.size, self.path, merkle_root)


def read_nodes(files: Sequence[str], tree: Literal["events", "heads"] = "events") -> list[Subtree]:
    """The nodes kept of one of a month's trees (files of `merkle_nodes`), by level and place; of heads there may be none.

    Raises:
        duckdb.Error: A file cannot be read.
    """
    if not files:
        return []
    with duckdb.connect() as connection:
        rows = connection.sql(_NODES, params={"files": list(files), "tree": tree}).fetchall()
    return [Subtree(*row) for row in rows]


def prove_inclusion(layout: Layout, nodes: Sequence[Subtree], aggregate_id: str, stream_version: int) -> InclusionProof:
    """Prove that an event is in a month; see `MonthTree`."""
    return MonthTree(layout, nodes).prove(aggregate_id, stream_version)


class MonthTree:
    """A month's tree, opened for proofs: each reads the row group that may hold its event and the leaves beside it.

    Whoever checks a proof holds it to the manifest's root, so nodes that are not the tree's make a proof that does not hold.

    Args:
        layout: The month's parts, in order.
        nodes: What was kept of its tree; see `KEPT_LEVELS`.

    Raises:
        ProofError: A file cannot be read.
    """

    def __init__(self, layout: Layout, nodes: Sequence[Subtree]) -> None:
        if layout.unreadable:
            raise ProofError(f"{next(iter(layout.unreadable))} cannot be read; a proof needs every event of the month")
        self.size = layout.rows
        self._groups = _Groups(layout)
        self._tree = KeptTree(self.size, lambda start, stop: _leaves(self._groups.read(start, stop, _COLUMNS)), nodes)

    def prove(self, aggregate_id: str, stream_version: int) -> InclusionProof:
        """Prove that an event is in the month.

        Args:
            aggregate_id: The stream.
            stream_version: The event's version in it.

        Raises:
            ProofError: The month does not hold the event, or nodes are missing.
        """
        index = self._groups.find(aggregate_id, stream_version)
        event = self._groups.read(index, index + 1, _COLUMNS).to_pylist()[0]
        return InclusionProof(**event, index=index, size=self.size, path=tuple(self._tree.path(index)))


class KeptTree:
    """A tree of which some nodes were kept: a path reads the leaves of one stretch, and once those of the last.

    Args:
        size: Its leaves.
        leaves: Reads the leaves with the numbers [start, stop).
        nodes: What was kept of it; see `KEPT_LEVELS`.
    """

    def __init__(self, size: int, leaves: Callable[[int, int], Hashes], nodes: Sequence[Subtree]) -> None:
        self.size = size
        self._leaves = leaves
        self._kept = {(node.level, node.place): node.hash for node in nodes}
        self._whole = size // _STRETCH * _STRETCH
        self._tail = reduce_run(leaves(self._whole, size), self._whole)

    def path(self, index: int) -> list[bytes]:
        """The inclusion proof of one leaf.

        Raises:
            ProofError: There is no such leaf, or nodes are missing.
        """
        first = index // _STRETCH * _STRETCH
        near = self._leaves(first, min(first + _STRETCH, self.size))
        path = []
        for start, stop in path_ranges(index, self.size):
            if first <= start and stop <= first + len(near):
                path.append(merkle_root(near[start - first : stop - first]))
                continue
            covered = [
                *_cover(self._kept, start, min(stop, self._whole)),
                *(self._tail if stop > self._whole else ()),
            ]
            frontier = Frontier()  # a range is a tree of its own, so places count from its start
            frontier.add(each._replace(place=each.place - (start >> each.level)) for each in covered)
            path.append(frontier.root())
        return path


def _cover(kept: Mapping[tuple[int, int], bytes], start: int, stop: int) -> Iterator[Subtree]:
    """The largest kept subtrees that make up the leaves [start, stop), from left to right; both are multiples of 256."""
    while start < stop:
        level = max(level for level in KEPT_LEVELS if start % (1 << level) == 0 and start + (1 << level) <= stop)
        found = kept.get((level, start >> level))
        if found is None:
            raise ProofError(f"node {start >> level} of level {level} was not kept; seal the month again to keep it")
        yield Subtree(level, start >> level, found)
        start += 1 << level


class _Groups:
    """The month's row groups in order, each with the number of its first event."""

    def __init__(self, layout: Layout) -> None:
        self._groups: list[tuple[int, int, str, int]] = []
        self._bounds: list[tuple[str, str]] = []
        self._last: tuple[str, int, pa.Table] | None = None
        offset = 0
        for file, parts in groupby(layout.parts, key=lambda part: part.file):
            footer = pq.read_metadata(file)
            for group in chain.from_iterable(part.groups for part in parts):
                rows = footer.row_group(group).num_rows
                self._groups.append((offset, offset + rows, file, group))
                self._bounds.append(group_bounds(footer, group))
                offset += rows

    def find(self, aggregate_id: str, stream_version: int) -> int:
        """Number of the event in the month.

        Raises:
            ProofError: It is not there.
        """
        for (start, _, file, group), (low, high) in zip(self._groups, self._bounds, strict=True):
            if not low <= aggregate_id <= high:
                continue
            rows = self._read_group(file, group)
            is_event = pc.and_(
                pc.equal(rows["aggregate_id"], pa.scalar(aggregate_id)),
                pc.equal(rows["stream_version"], pa.scalar(stream_version, pa.int32())),
            )
            found: npt.NDArray[np.intp] = np.flatnonzero(is_event.to_numpy(zero_copy_only=False))
            if len(found):
                return start + int(found[0])
        raise ProofError(f"the month does not hold version {stream_version} of stream {aggregate_id}")

    def read(self, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
        """The events with numbers [start, stop), in order."""
        pieces = []
        for first, end, file, group in self._groups:
            low, high = max(start, first), min(stop, end)
            if low < high:
                pieces.append(self._read_group(file, group).select(columns).slice(low - first, high - low))
        return pa.concat_tables(pieces) if pieces else pa.table({name: [] for name in columns})

    def _read_group(self, file: str, group: int) -> pa.Table:
        """A row group; the last one is kept, since what is proven next is often in it."""
        if self._last is None or self._last[:2] != (file, group):
            with pq.ParquetFile(file) as opened:
                self._last = (file, group, opened.read_row_group(group, columns=list(_COLUMNS)))
        return self._last[2]


def _leaves(rows: pa.Table) -> Hashes:
    if not rows.num_rows:
        return np.empty((0, HASH_BYTES), np.uint8)
    epochs, xids, positions = (int_column(rows[name].combine_chunks()) for name in ("epoch", "xid", "position"))
    hashes = binary_rows(rows["hash"].combine_chunks())[0]
    return leaf_hashes(leaf_data(hashes, epochs.astype(np.int32), xids, positions))
