"""The heads of streams as one hash: what each stream's last event is, so that a tail that is cut shows."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np

from pipelines.proof.batch import binary_rows
from pipelines.proof.merkle import HASH_BYTES, Frontier, Hashes, Subtree, reduce_run

_LEAVES = """
SELECT
    unhex(sha256('\\x00'::BLOB || encode(concat_ws(chr(10), aggregate_id, last_version::VARCHAR, '')) || last_hash)) AS leaf
FROM {heads} ORDER BY aggregate_id
"""
_BATCH_ROWS = 65_536


def heads_root(connection: duckdb.DuckDBPyConnection, heads: str, kept: list[Subtree] | None = None) -> bytes:
    """The root of the tree (RFC 6962) over heads, by stream; a leaf's data are stream, LF, version, LF, and its last link.

    Args:
        connection: Has the relation.
        heads: A relation with `aggregate_id, last_version, last_hash`, one row a stream.
        kept: Gets the whole subtrees of `KEPT_LEVELS`.
    """
    frontier, place = Frontier(kept), 0
    for leaves in _read_leaves(connection, heads):
        frontier.add(reduce_run(leaves, place, kept=kept))
        place += len(leaves)
    return frontier.root()


def head_leaves(connection: duckdb.DuckDBPyConnection, heads: str) -> Hashes:
    """All leaves of that tree, (n, 32), in its order: by stream. Arguments as of `heads_root`."""
    return np.concatenate([np.empty((0, HASH_BYTES), np.uint8), *_read_leaves(connection, heads)])


def _read_leaves(connection: duckdb.DuckDBPyConnection, heads: str) -> Iterator[Hashes]:
    for batch in connection.sql(_LEAVES.format(heads=heads)).to_arrow_reader(_BATCH_ROWS):
        yield binary_rows(batch.column(0))[0]
