"""The tree over heads: its root, the nodes that are kept of it, and proofs made with them, against RFC 6962 word by word."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.proof.heads import head_leaves, heads_root
from pipelines.proof.inclusion import KeptTree
from pipelines.proof.merkle import Levels, ProofError, Subtree, verify_inclusion
from tests.oracles.merkle import tree

_HEADS = """
CREATE TABLE heads AS
SELECT format('{:08x}', n * 7919 % 65536) AS aggregate_id, (1 + n % 5)::INTEGER AS last_version, unhex(sha256(n::VARCHAR)) AS last_hash
FROM range(?) AS r (n)
"""


def leaves_of(connection: duckdb.DuckDBPyConnection) -> list[bytes]:
    rows = connection.sql("SELECT * FROM heads ORDER BY aggregate_id").fetchall()
    return [hashlib.sha256(b"\0" + f"{stream}\n{version}\n".encode() + link).digest() for stream, version, link in rows]


@settings(max_examples=40)
@given(st.integers(1, 1_200), st.data())
def test_proofs_of_heads(size: int, data: st.DataObject):
    """With kept nodes, from one stretch of leaves, a path is the one that all leaves give, and proves the leaf."""
    kept: list[Subtree] = []
    with duckdb.connect() as connection:
        connection.execute(_HEADS, [size])
        expected = leaves_of(connection)
        root = heads_root(connection, "heads", kept)
        leaves = head_leaves(connection, "heads")
    assert leaves.tobytes() == b"".join(expected)
    assert root == tree(expected) == heads_root_of(leaves)
    assert len(kept) == size // 256
    index = data.draw(st.integers(0, size - 1))
    path = KeptTree(size, lambda start, stop: leaves[start:stop], kept).path(index)
    assert path == Levels(leaves).path(index)
    assert verify_inclusion(expected[index], index, size, path, root)
    if kept and size > 512:
        with pytest.raises(ProofError, match="was not kept"):
            KeptTree(size, lambda start, stop: leaves[start:stop], []).path(size - 1 if index < 256 else 0)


def heads_root_of(leaves: Sequence[bytes]) -> bytes:
    return Levels(np.asarray(leaves)).root()
