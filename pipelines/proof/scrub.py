"""The document of a scrub: what PostgreSQL was made to write anew, so that nothing of erased events is left there, and what was not reached.

Text like the documents of months: canonical JSON, the same bytes wherever it is kept, and its signature is over exactly these.
It claims no more than was seen: what could not be looked at is among what was not reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from pipelines.canonical.jcs import canonical_text
from pipelines.proof.manifest import read_document

SCRUB = "refold-scrub/1"
Kept = Literal[
    "relation",
    "file",
    "wal",
    "replication_slot",
    "archive",
    "standby",
    "statistics",
    "statements",
    "server_log",
    "temporary_file",
    "database",
    "unseen",
]
"""Where content of erased events may still be. unseen: there was no right to look."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One table of schema refold, written anew with its TOAST table and indexes.

    Attributes:
        table: Its name.
        old_filenode: Number of the file before.
        new_filenode: Number of the file since.
        old_toast: Likewise of the TOAST table; None without one.
        new_toast: Likewise.
        is_old_gone: Whether all old files, also of indexes, were seen to be gone, or empty; None where files could not be looked at.
        rows: Rows that were kept.
        bytes_before: On disk with indexes and TOAST.
        bytes_after: Likewise.
        seconds: How long the table was closed to readers and writers, waiting for it included.
    """

    table: str
    old_filenode: int
    new_filenode: int
    old_toast: int | None
    new_toast: int | None
    is_old_gone: bool | None
    rows: int
    bytes_before: int
    bytes_after: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Unreached:
    """One place where content of erased events may still be.

    Attributes:
        kind: What kind of place.
        name: Which one.
        detail: Why, and what can be done.
    """

    kind: Kept
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Scrub:
    """One scrub of a store.

    Attributes:
        covers: Up to which entry of the home log the tables of every erasure are written anew; None while none are.
        relations: What was written anew by this scrub.
        wal_segments: Segments of write-ahead log that were overwritten after that, so that none from before is left; None where
            old ones may be left.
        not_reached: Where content may still be.
        seconds: How long it took.
        server_version: PostgreSQL's, as a number (180004).
        code_version: Version of Refold.
        scrubbed_at: When, UTC, ISO 8601.
        public_key_id: Id of the key it is signed with; None when it is not.
    """

    covers: int | None
    relations: tuple[Rewritten, ...]
    wal_segments: int | None
    not_reached: tuple[Unreached, ...]
    seconds: float
    server_version: int
    code_version: str
    scrubbed_at: str
    public_key_id: str | None

    def text(self) -> str:
        """The canonical JSON text, which is what is signed."""
        return canonical_text({"format": SCRUB, **asdict(self)})


def read_scrub(text: str) -> Scrub:
    """The scrub in a text.

    Raises:
        ManifestError: The text is not one, or not in its canonical form.
    """

    def make(values: Mapping[str, Any]) -> Scrub:
        covers = values["covers"]
        if covers is not None and (type(covers) is not int or covers < 0):
            raise ValueError("covers")
        relations = tuple(Rewritten(**each) for each in values["relations"])
        not_reached = tuple(Unreached(**each) for each in values["not_reached"])
        if any(each.kind not in get_args(Kept) for each in not_reached):
            raise ValueError("kind")
        return Scrub(**{**values, "relations": relations, "not_reached": not_reached})

    return read_document(text, SCRUB, make)
