"""The bytes of a file: hashed, or read where there can only be few."""

from __future__ import annotations

import hashlib
from pathlib import Path


def hash_file(path: str | Path) -> str:
    """SHA-256 of a file, hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_small(path: Path, most: int) -> bytes:
    """A file's bytes, and no more than one beyond `most`: whoever reads them tells what is too long, also of a file without end.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        return stream.read(most + 1)
