"""A proof that a leaf is in a tree, as text that other tools check, too: C2SP tlog-proof, without extra data."""

from __future__ import annotations

import base64
from collections.abc import Sequence

_FORMAT = "c2sp.org/tlog-proof@v1"


def write_proof(index: int, path: Sequence[bytes], checkpoint: str) -> str:
    """The proof.

    Args:
        index: Number of the leaf, from 0.
        path: Sibling hashes from the leaf to the root.
        checkpoint: Of the tree, as it is written: a note where it is signed, its body alone where it is not.
    """
    lines = [_FORMAT, f"index {index}", *(base64.b64encode(each).decode() for each in path), ""]
    return "".join(f"{line}\n" for line in lines) + checkpoint
