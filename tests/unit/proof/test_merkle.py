"""The Merkle tree: RFC 6962's own vectors, its recursive definition, and proofs that prove nothing else."""

from __future__ import annotations

import hashlib
import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.proof.merkle import (
    EMPTY_ROOT,
    KEPT_LEVELS,
    Frontier,
    ProofError,
    Subtree,
    consistency_path,
    inclusion_path,
    leaf_data,
    leaf_hashes,
    merkle_root,
    reduce_run,
    verify_consistency,
    verify_inclusion,
)
from tests.oracles.merkle import tree

# The leaves, roots and paths that implementations of Certificate Transparency test with.
VECTOR_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
VECTOR_PATHS = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


VECTOR_CONSISTENCY = {
    (1, 8): VECTOR_PATHS[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def rows(hashes: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1, word by word."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*path(index, leaves[:k]), tree(leaves[k:])]
    return [*path(index - k, leaves[k:]), tree(leaves[:k])]


def subproof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2, word by word."""
    if old == len(leaves):
        return [] if whole else [tree(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if old <= k:
        return [*subproof(old, leaves[:k], whole=whole), tree(leaves[k:])]
    return [*subproof(old - k, leaves[k:], whole=False), tree(leaves[:k])]


def numbered(n: int) -> list[bytes]:
    return [leaf(str(i).encode()) for i in range(n)]


def test_the_published_vectors():
    """Roots over the first 1 to 8 leaves, and four paths, are those of Certificate Transparency."""
    leaves = [leaf(data) for data in VECTOR_LEAVES]
    for data in VECTOR_LEAVES:
        row = np.frombuffer(data, np.uint8).reshape(1, -1)
        assert leaf_hashes(row).tobytes() == leaf(data)
    assert [merkle_root(rows(leaves[: n + 1])).hex() for n in range(8)] == VECTOR_ROOTS
    for (index, size), hashes in VECTOR_PATHS.items():
        assert [h.hex() for h in inclusion_path(rows(leaves[:size]), index)] == hashes
    assert EMPTY_ROOT == tree([]) == Frontier().root()


@pytest.mark.parametrize("size", [*range(1, 34), 63, 64, 65, 100])
def test_roots_and_paths_are_those_of_the_definition(size):
    """For every size and leaf, root and path equal the recursive definition, and the path proves the leaf."""
    leaves = numbered(size)
    root = tree(leaves)
    assert merkle_root(rows(leaves)) == root
    for index in range(size):
        proof = inclusion_path(rows(leaves), index)
        assert proof == path(index, leaves)
        assert verify_inclusion(leaves[index], index, size, proof, root)


@given(st.integers(1, 1200), st.data())
def test_runs_of_any_length_give_the_same_tree(size, data):
    """However the leaves are cut into runs, the root is the same, and every node of a kept level comes out once."""
    leaves = rows(numbered(size))
    cuts = sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=6))})
    kept: list[Subtree] = []
    frontier = Frontier(kept)
    for start, stop in itertools.pairwise(cuts):
        frontier.add(reduce_run(leaves[start:stop], start, kept=kept))
    assert frontier.root() == merkle_root(leaves)
    width = 1 << KEPT_LEVELS[0]
    whole = [merkle_root(leaves[at : at + width]) for at in range(0, size - width + 1, width)]
    assert sorted(kept) == [Subtree(KEPT_LEVELS[0], place, root) for place, root in enumerate(whole)]


def test_the_published_consistency_proofs():
    """Proofs between trees over the published leaves are those that implementations of Certificate Transparency test with."""
    leaves = rows([leaf(data) for data in VECTOR_LEAVES])
    for (old, new), proof in VECTOR_CONSISTENCY.items():
        assert [h.hex() for h in consistency_path(leaves[:new], old)] == proof
        roots = (old, bytes.fromhex(VECTOR_ROOTS[old - 1])), (new, bytes.fromhex(VECTOR_ROOTS[new - 1]))
        assert verify_consistency(*roots, [bytes.fromhex(text) for text in proof])


@pytest.mark.parametrize("new", [*range(1, 20), 33, 64])
def test_a_tree_is_shown_to_be_the_beginning_of_another(new):
    """For every earlier size the proof is the recursive definition's, holds, and proves nothing of another tree."""
    leaves = numbered(new)
    root, forged = tree(leaves), tree([leaf(b"forged"), *leaves[1:]])
    for old in range(1, new + 1):
        proof = consistency_path(rows(leaves), old)
        assert proof == subproof(old, leaves, whole=True)
        assert verify_consistency((old, tree(leaves[:old])), (new, root), proof)
        assert not verify_consistency((old, tree(leaves[:old])), (new, forged), proof)
        assert not verify_consistency((old, tree([*leaves[: old - 1], leaf(b"x")])), (new, root), proof)
        assert not verify_consistency((old, tree(leaves[:old])), (new, root), [*proof, root])
        if proof:
            assert not verify_consistency((old, tree(leaves[:old])), (new, root), proof[:-1])


@given(st.integers(1, 40), st.data())
def test_a_path_proves_nothing_else(size, data):
    """With another leaf, place, size, root, or a path longer, shorter or changed, nothing is proven."""
    leaves = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    root, proof = tree(leaves), path(index, leaves)
    assert verify_inclusion(leaves[index], index, size, proof, root)
    assert not verify_inclusion(leaf(b"other"), index, size, proof, root)
    assert not verify_inclusion(leaves[index], index, size, proof, leaf(b"other"))
    assert not verify_inclusion(leaves[index], index, size, [*proof, root], root)
    assert not verify_inclusion(leaves[index], size, size, proof, root)
    assert not verify_inclusion(leaves[index], -1, size, proof, root)
    if proof:
        changed = data.draw(st.integers(0, len(proof) - 1))
        assert not verify_inclusion(leaves[index], index, size, proof[:-1], root)
        assert not verify_inclusion(
            leaves[index], index, size, [*proof[:changed], leaf(b"x"), *proof[changed + 1 :]], root
        )
    other = data.draw(st.integers(0, size - 1))
    assert verify_inclusion(leaves[index], other, size, proof, root) == (other == index)


def test_a_leaf_is_not_a_node():
    """A node passed off as a leaf's data does not keep the root: leaves and nodes are hashed apart."""
    leaves = numbered(2)
    forged = leaf(leaves[0] + leaves[1])
    assert merkle_root(rows([forged])) != merkle_root(rows(leaves))


def test_the_data_of_a_leaf():
    """Chain hash, epoch, xid and position, big-endian, one after the other."""
    hashes = rows([bytes(range(32)), bytes(32)])
    data = leaf_data(hashes, np.array([1, 2**31 - 1]), np.array([7, 2**63 - 1]), np.array([9, -1]))
    assert data[0].tobytes() == bytes(range(32)) + struct.pack(">iqq", 1, 7, 9)
    assert data[1].tobytes() == bytes(32) + struct.pack(">iqq", 2**31 - 1, 2**63 - 1, -1)


def test_what_is_not_there_is_refused():
    """A leaf beyond the tree, or a subtree out of line, is an error, not a proof."""
    with pytest.raises(ProofError, match="no leaf 3: the tree has 3"):
        inclusion_path(rows(numbered(3)), 3)
    with pytest.raises(ProofError, match="begins at leaf 2, not at 0"):
        Frontier().add([Subtree(1, 1, bytes(32))])
