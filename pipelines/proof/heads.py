"""The heads of streams as one hash: what each stream's last event is, so that a tail that is cut shows."""

from __future__ import annotations

import duckdb
import numpy as np

from pipelines.proof.batch import hash_texts
from pipelines.proof.merkle import Frontier, reduce_run

_LEAVES = """
SELECT '\\x00'::BLOB || encode(concat_ws(chr(10), aggregate_id, last_version::VARCHAR, '')) || last_hash AS leaf
FROM {heads} ORDER BY aggregate_id
"""
_BATCH_ROWS = 65_536


def heads_root(connection: duckdb.DuckDBPyConnection, heads: str) -> bytes:
    """The root of the tree (RFC 6962) over heads, by stream; a leaf's data are stream, LF, version, LF, and its last link.

    Args:
        connection: Has the relation.
        heads: A relation with `aggregate_id, last_version, last_hash`, one row a stream.
    """
    frontier, place = Frontier(), 0
    for batch in connection.sql(_LEAVES.format(heads=heads)).to_arrow_reader(_BATCH_ROWS):
        leaves = hash_texts(batch.column(0))
        frontier.add(reduce_run(np.ascontiguousarray(leaves), place))
        place += len(leaves)
    return frontier.root()
