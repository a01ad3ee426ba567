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

KEPT_LEVELS = (8, 16, 24)
"""Levels whose whole subtrees are kept when a month is sealed: with them, a proof reads one stretch of 256 leaves."""

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


def reduce_run(
    leaves: Hashes, offset: int, hasher: HashRows = hash_rows, kept: list[Subtree] | None = None, level: int = 0
) -> list[Subtree]:
    """The largest whole subtrees that a run of leaves consists of, from left to right.

    Args:
        leaves: Leaf hashes, (n, 32), or nodes of `level`.
        offset: Index of the first one in the whole tree, among those of its level.
        hasher: What hashes many messages at once.
        kept: Gets all whole subtrees of the run that are of `KEPT_LEVELS`.
        level: Of what is given; 0 are leaves.

    Returns:
        At most two per level.
    """
    left: list[Subtree] = []
    right: list[Subtree] = []
    nodes, first = leaves, offset
    while len(nodes):
        if kept is not None and level in KEPT_LEVELS:
            kept += [Subtree(level, first + n, nodes[n].tobytes()) for n in range(len(nodes))]
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
    """Joins subtrees, given from left to right without a gap, to the root.

    Args:
        kept: Gets the subtrees of `KEPT_LEVELS` that come of joining.
    """

    def __init__(self, kept: list[Subtree] | None = None) -> None:
        self._stack: list[Subtree] = []
        self._kept = kept
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
                joined = Subtree(left.level + 1, left.place // 2, node_hash(left.hash, right.hash))
                self._stack.append(joined)
                if self._kept is not None and joined.level in KEPT_LEVELS:
                    self._kept.append(joined)

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


def inclusion_path(leaves: Hashes, index: int) -> list[bytes]:
    """The inclusion proof of one leaf among leaves that are all in memory: PATH(index, leaves) of RFC 6962."""
    return [merkle_root(leaves[start:stop]) for start, stop in path_ranges(index, len(leaves))]


def consistency_path(leaves: Hashes, size: int) -> list[bytes]:
    """The proof that a tree over the first `size` leaves is the beginning of this one: PROOF(size, leaves) of RFC 6962.

    Raises:
        ProofError: There are fewer leaves, or none were there before.
    """
    if not 0 < size <= len(leaves):
        raise ProofError(f"a tree of {len(leaves)} leaves has no beginning of {size}")
    path: list[bytes] = []
    start, stop, is_whole = 0, len(leaves), True  # is_whole: the old tree is the subtree [start, size) itself
    while size != stop:
        split = start + (1 << (stop - start - 1).bit_length() - 1)
        if size <= split:
            path.append(merkle_root(leaves[split:stop]))
            stop = split
        else:
            path.append(merkle_root(leaves[start:split]))
            start, is_whole = split, False
    if not is_whole:
        path.append(merkle_root(leaves[start:stop]))
    return path[::-1]


def verify_consistency(old: tuple[int, bytes], new: tuple[int, bytes], path: Sequence[bytes]) -> bool:
    """Whether `path` proves that the tree (size, root) `old` is the beginning of the tree `new`.

    The algorithm of RFC 9162, section 2.1.4.2.
    """
    (old_size, old_root), (new_size, new_root) = old, new
    if old_size == new_size:
        return not path and old_root == new_root
    if not 0 < old_size < new_size:
        return False
    rest = list(path)
    if old_size & (old_size - 1) == 0:  # a power of two: its root is a node of the new tree
        rest.insert(0, old_root)
    if not rest:
        return False
    place, last = old_size - 1, new_size - 1
    while place % 2:
        place, last = place >> 1, last >> 1
    found_old = found_new = rest[0]
    for sibling in rest[1:]:
        if last == 0:
            return False
        if place % 2 or place == last:
            found_old, found_new = node_hash(sibling, found_old), node_hash(sibling, found_new)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            found_new = node_hash(found_new, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and (found_old, found_new) == (old_root, new_root)


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


class Levels:
    """All nodes of a tree whose leaves are in memory, for many proofs: about as large as the leaves again.

    Args:
        leaves: Leaf hashes, (n, 32).
        hasher: What hashes many messages at once.
    """

    def __init__(self, leaves: Hashes, hasher: HashRows = hash_rows) -> None:
        self.size = len(leaves)
        self._levels = [leaves]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1][: len(self._levels[-1]) // 2 * 2]
            pairs = np.empty((len(below) // 2, 1 + 2 * HASH_BYTES), np.uint8)
            pairs[:, 0] = 1
            pairs[:, 1:] = np.ascontiguousarray(below).reshape(-1, 2 * HASH_BYTES)
            self._levels.append(hasher(pairs))

    def root(self) -> bytes:
        """The root over all leaves."""
        return self._over(0, self.size) if self.size else EMPTY_ROOT

    def path(self, index: int) -> list[bytes]:
        """The inclusion proof of one leaf.

        Raises:
            ProofError: There is no such leaf.
        """
        return [self._over(start, stop) for start, stop in path_ranges(index, self.size)]

    def _over(self, start: int, stop: int) -> bytes:
        """The root over the leaves [start, stop) of a range into which trees split."""
        level = (stop - start).bit_length() - 1
        if stop - start == 1 << level:
            node: bytes = self._levels[level][start >> level].tobytes()
            return node
        split = start + (1 << (stop - start - 1).bit_length() - 1)
        return node_hash(self._over(start, split), self._over(split, stop))
