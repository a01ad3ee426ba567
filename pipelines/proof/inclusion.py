"""Proof that one event is in a sealed month: what anybody needs beside the manifest to check it without the month."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.proof.batch import binary_rows, int_column
from pipelines.proof.merkle import Hashes, PathCollector, ProofError, leaf_data, leaf_hashes, verify_inclusion
from pipelines.proof.parts import Layout

_COLUMNS = ("aggregate_id", "stream_version", "epoch", "xid", "position", "hash")
_BATCH_ROWS = 65_536


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


def prove_inclusion(layout: Layout, aggregate_id: str, stream_version: int) -> InclusionProof:
    """Prove that an event is in a month, by reading the month's leaves once; memory is a batch.

    Args:
        layout: The month's parts, in order.
        aggregate_id: The stream.
        stream_version: The event's version in it.

    Raises:
        ProofError: The month does not hold the event, or a file cannot be read.
    """
    if layout.unreadable:
        raise ProofError(f"{next(iter(layout.unreadable))} cannot be read; a proof needs every event of the month")
    index = _find(layout, aggregate_id, stream_version)
    collector, event = PathCollector(index, layout.rows), None
    for offset, batch in _batches(layout, _COLUMNS):
        collector.add(_leaves(batch))
        if offset <= index < offset + batch.num_rows:
            event = batch.slice(index - offset, 1).to_pylist()[0]
    assert event is not None
    return InclusionProof(**event, index=index, size=layout.rows, path=tuple(collector.path()))


def _find(layout: Layout, aggregate_id: str, stream_version: int) -> int:
    for offset, batch in _batches(layout, ("aggregate_id", "stream_version")):
        is_event = pc.and_(
            pc.equal(batch["aggregate_id"], pa.scalar(aggregate_id)),
            pc.equal(batch["stream_version"], pa.scalar(stream_version, pa.int32())),
        )
        found: npt.NDArray[np.intp] = np.flatnonzero(is_event.to_numpy(zero_copy_only=False))
        if len(found):
            return offset + int(found[0])
    raise ProofError(f"the month does not hold version {stream_version} of stream {aggregate_id}")


def _batches(layout: Layout, columns: tuple[str, ...]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The month's rows in order, with the number of the first row of each batch."""
    offset = 0
    for part in layout.parts:
        with pq.ParquetFile(part.file) as file:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=list(part.groups), columns=list(columns)):
                yield offset, batch
                offset += batch.num_rows


def _leaves(batch: pa.RecordBatch) -> Hashes:
    epochs, xids, positions = (int_column(batch[name]) for name in ("epoch", "xid", "position"))
    return leaf_hashes(leaf_data(binary_rows(batch["hash"])[0], epochs.astype(np.int32), xids, positions))
