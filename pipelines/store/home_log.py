"""The home log: what happened to the log as a whole, in order. Entries are written by the SQL functions, and never changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import psycopg

from pipelines.store.sqlstate import typed_errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Kind = Literal["opened", "closing", "sealed", "files", "unsealed", "redacted", "erased", "scrubbed"]
"""sealed: the document is the month's manifest; files: the list of files that hold a sealed month; erased: the erasure; scrubbed: the scrub."""

_ENTRIES = """
SELECT entry, kind, month, generation, document, signature, noted_at FROM refold.home_log WHERE entry >= %s ORDER BY entry
"""


@dataclass(frozen=True, slots=True)
class Signed:
    """A document as it is kept: its text, byte for byte, and the Ed25519 signature over it, if any."""

    text: str
    signature: bytes | None

    @property
    def sha256(self) -> str:
        """Hash of the text, hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def sign(text: str, key: Ed25519PrivateKey | None) -> Signed:
    """The document with its signature; without a key it has none."""
    return Signed(text, key.sign(text.encode()) if key else None)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the home log.

    Attributes:
        entry: Its place: 0, 1, 2 and so on, without a gap.
        kind: What happened.
        month: To which UTC month, YYYY-MM; None for what is of no month.
        generation: Which opening of the month; None likewise.
        signed: The document, JSON text, with its signature.
        noted_at: When, by the store's clock; what the document says of it is what is proven.
    """

    entry: int
    kind: Kind
    month: str | None
    generation: int | None
    signed: Signed
    noted_at: datetime

    @classmethod
    def of(cls, row: Sequence[Any]) -> Entry:
        """An entry of `entry, kind, month, generation, document, signature, noted_at`."""
        entry, kind, month, generation, text, signature, noted_at = row
        return cls(entry, kind, month, generation, Signed(text, signature), noted_at)


def read_entries(conn: psycopg.Connection, first: int = 0) -> list[Entry]:
    """The entries from `first` on, in order."""
    with typed_errors():
        rows = conn.execute(_ENTRIES, [first]).fetchall()
    return [Entry.of(row) for row in rows]


def read_home(conn: psycopg.Connection) -> UUID:
    """What names the log for good."""
    with typed_errors():
        row = conn.execute("SELECT home FROM refold.store").fetchone()
    assert row is not None
    home: UUID = row[0]
    return home
