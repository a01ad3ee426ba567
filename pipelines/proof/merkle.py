"""The Merkle tree of RFC 6962 over a month's events, and proofs that one event is in it.

A leaf is SHA-256(0x00 ‖ data), a node SHA-256(0x01 ‖ left ‖ right); a tree of n leaves splits at the largest power of two
below n, so a last node without a sibling moves up as it is. A leaf's data is 52 bytes: the event's chain hash, then epoch
(4 bytes), xid and position (8 bytes each), big-endian. The chain hash stands for everything else about the event.

Leaves are reduced in runs that may begin anywhere: a run becomes the few subtrees that are whole in it, and `Frontier`
joins those in order. So no more than a run has to be in memory, and runs can be reduced side by side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.errors import RefoldError

HASH_BYTES = 32
LEAF_BYTES = HASH_BYTES + 4 + 8 + 8
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of a tree without leaves, as RFC 6962 has it."""

Hashes = npt.NDArray[np.uint8]
"""Hashes or messages of one length, one per row: shape (n, length)."""
HashRows = Callable[[Hashes], Hashes]
"""SHA-256 of every row: (n, length) -> (n, 32)."""


class ProofError(RefoldError):
    """A leaf that is not in the tree was asked for."""


class Subtree(NamedTuple):
    """A whole subtree of the tree over all leaves: 2^level leaves, the `place`-th of its level, from 0."""

    level: int
    place: int
    hash: bytes

    @property
    def first_leaf(self) -> int:
        """Index of its first leaf."""
        return self.place << self.level


def hash_rows(rows: Hashes) -> Hashes:
    """SHA-256 of every row, by Python's hashlib."""
    width = rows.shape[1]
    flat = rows.tobytes()
    digests = b"".join(hashlib.sha256(flat[at : at + width]).digest() for at in range(0, len(flat), width))
    return np.frombuffer(digests, np.uint8).reshape(-1, HASH_BYTES)


def leaf_data(
    hashes: Hashes, epochs: npt.NDArray[np.int32], xids: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]
) -> Hashes:
    """The data of each event's leaf: (n, 52)."""
    data = np.empty((len(hashes), LEAF_BYTES), np.uint8)
    data[:, :32] = hashes
    data[:, 32:36] = epochs.astype(">i4").view(np.uint8).reshape(-1, 4)
    data[:, 36:44] = xids.astype(">i8").view(np.uint8).reshape(-1, 8)
    data[:, 44:] = positions.astype(">i8").view(np.uint8).reshape(-1, 8)
    return data


def leaf_hashes(data: Hashes, hasher: HashRows = hash_rows) -> Hashes:
    """The leaf of each row of data, whatever its length: (n, 32)."""
    message = np.zeros((len(data), data.shape[1] + 1), np.uint8)
    message[:, 1:] = data
    return hasher(message)


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def reduce_run(leaves: Hashes, offset: int, hasher: HashRows = hash_rows) -> list[Subtree]:
    """The largest whole subtrees that a run of leaves consists of, from left to right.

    Args:
        leaves: Leaf hashes, (n, 32).
        offset: Index of the first one in the whole tree.
        hasher: What hashes many messages at once.

    Returns:
        At most two per level.
    """
    left: list[Subtree] = []
    right: list[Subtree] = []
    nodes, first, level = leaves, offset, 0
    while len(nodes):
        if first % 2:
            left.append(Subtree(level, first, nodes[0].tobytes()))
            nodes, first = nodes[1:], first + 1
        if len(nodes) % 2:
            right.append(Subtree(level, first + len(nodes) - 1, nodes[-1].tobytes()))
            nodes = nodes[:-1]
        if len(nodes):
            pairs = np.empty((len(nodes) // 2, 1 + 2 * HASH_BYTES), np.uint8)
            pairs[:, 0] = 1
            pairs[:, 1:] = np.ascontiguousarray(nodes).reshape(-1, 2 * HASH_BYTES)
            nodes = hasher(pairs)
        first, level = first // 2, level + 1
    return left + right[::-1]


class Frontier:
    """Joins subtrees, given from left to right without a gap, to the root."""

    def __init__(self) -> None:
        self._stack: list[Subtree] = []
        self.leaves = 0

    def add(self, subtrees: Iterable[Subtree]) -> None:
        """Take the next subtrees.

        Raises:
            ProofError: One does not begin where the last ended.
        """
        for subtree in subtrees:
            if subtree.first_leaf != self.leaves:
                raise ProofError(f"a subtree begins at leaf {subtree.first_leaf}, not at {self.leaves}")
            self.leaves += 1 << subtree.level
            self._stack.append(subtree)
            while len(self._stack) > 1 and self._stack[-2].level == self._stack[-1].level:
                right, left = self._stack.pop(), self._stack.pop()
                self._stack.append(Subtree(left.level + 1, left.place // 2, node_hash(left.hash, right.hash)))

    def root(self) -> bytes:
        """The root over all leaves given so far."""
        if not self._stack:
            return EMPTY_ROOT
        root = self._stack[-1].hash
        for subtree in reversed(self._stack[:-1]):
            root = node_hash(subtree.hash, root)
        return root


def merkle_root(leaves: Hashes, hasher: HashRows = hash_rows) -> bytes:
    """The root over leaf hashes that are all in memory."""
    frontier = Frontier()
    frontier.add(reduce_run(leaves, 0, hasher))
    return frontier.root()


def path_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Leaf ranges [from, to) whose roots prove leaf `index` of `size`, from the leaf's sibling up to the root's child.

    Raises:
        ProofError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index}: the tree has {size}")
    ranges = []
    start, stop = 0, size
    while stop - start > 1:
        split = start + (1 << (stop - start - 1).bit_length() - 1)
        if index < split:
            ranges.append((split, stop))
            stop = split
        else:
            ranges.append((start, split))
            start = split
    return ranges[::-1]


class PathCollector:
    """Collects the inclusion proof of one leaf while the leaves pass by, in runs, from left to right."""

    def __init__(self, index: int, size: int) -> None:
        self._ranges = path_ranges(index, size)
        self._roots = {bounds: Frontier() for bounds in self._ranges}
        self._index, self._offset = index, 0
        self.leaf: bytes | None = None

    def add(self, leaves: Hashes, hasher: HashRows = hash_rows) -> None:
        """Take the next leaf hashes."""
        offset = self._offset
        self._offset += len(leaves)
        if offset <= self._index < self._offset:
            self.leaf = leaves[self._index - offset].tobytes()
        for start, stop in self._ranges:
            low, high = max(start, offset), min(stop, self._offset)
            if low < high:
                # Within its range a leaf counts from the range's start: the range is a tree of its own.
                run = leaves[low - offset : high - offset]
                self._roots[start, stop].add(reduce_run(run, low - start, hasher))

    def path(self) -> list[bytes]:
        """The proof: sibling hashes from the leaf to the root, once all leaves have passed."""
        return [self._roots[bounds].root() for bounds in self._ranges]


def inclusion_path(leaves: Hashes, index: int) -> list[bytes]:
    """The inclusion proof of one leaf among leaves that are all in memory: PATH(index, leaves) of RFC 6962."""
    collector = PathCollector(index, len(leaves))
    collector.add(leaves)
    return collector.path()


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` proves that `leaf` (a leaf hash) is the `index`-th of the `size` leaves under `root`.

    The algorithm of RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place % 2 or place == last:
            found = node_hash(sibling, found)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root
