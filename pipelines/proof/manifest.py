"""The two documents of a sealed month: the manifest, which proves its rows for ever, and the list of the files that hold them now.

Each is text: canonical JSON (RFC 8785), the same bytes wherever it is kept, and its signature is over exactly these bytes. A
manifest is made once for a seal and names the hash of that of the generation before. Files may be written anew, so their list
may be revised: it names the manifest, the list before it, and why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from pipelines.canonical.jcs import canonical_text
from pipelines.errors import RefoldError

MANIFEST = "refold-manifest/2"
FILE_LIST = "refold-files/1"
_Document = TypeVar("_Document", bound="Document")


class ManifestError(RefoldError):
    """A text is not a document of the home log that this version reads."""


class Document(Protocol):
    """What is kept as text, byte for byte, and signed as such."""

    def text(self) -> str:
        """The canonical JSON text."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a month held when it was sealed.

    Attributes:
        month: UTC month, YYYY-MM.
        generation: How often the month was opened when this was sealed.
        rows: Events.
        streams: Streams with events in the month.
        first: Smallest (epoch, xid, position); None without events.
        last: Largest.
        merkle_root: Root (hex) of the tree over the events by stream and version.
        heads_root: Root (hex) of the tree over the streams' heads at the end of the month; see `heads`.
        code_version: Version of Refold that sealed it.
        sealed_at: When, UTC, ISO 8601.
        supersedes: SHA-256 (hex) of the month's manifest of the generation sealed before; None for the first.
        public_key_id: Id of the key it is signed with; None when it is not.
    """

    month: str
    generation: int
    rows: int
    streams: int
    first: tuple[int, int, int] | None
    last: tuple[int, int, int] | None
    merkle_root: str
    heads_root: str
    code_version: str
    sealed_at: str
    supersedes: str | None
    public_key_id: str | None

    def text(self) -> str:
        """The canonical JSON text, which is what is signed."""
        return canonical_text({"format": MANIFEST, **asdict(self)})


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One data file: path relative to the table's folder, SHA-256 (hex), bytes and rows."""

    path: str
    sha256: str
    size_bytes: int
    row_count: int


@dataclass(frozen=True, slots=True)
class FileList:
    """Which files of the lake hold a sealed month.

    Attributes:
        month: UTC month, YYYY-MM.
        generation: That of the manifest.
        number: 1 for the list that was made with the manifest; each revision is one more.
        manifest_sha256: Hash (hex) of the manifest's text.
        files: The month's files of `events`, in the order of their rows.
        delta_version: Version of the Delta table `events` that has them.
        commit_number: Number of that commit of the month.
        reason: Why files were written anew; None for the first list.
        causes: The events that asked for it, as `STREAM@VERSION`; none for the first list.
        code_version: Version of Refold that listed them.
        listed_at: When, UTC, ISO 8601.
        supersedes: SHA-256 (hex) of the list before it; None for the first.
        public_key_id: Id of the key it is signed with; None when it is not.
    """

    month: str
    generation: int
    number: int
    manifest_sha256: str
    files: tuple[ListedFile, ...]
    delta_version: int
    commit_number: int
    reason: str | None
    causes: tuple[str, ...]
    code_version: str
    listed_at: str
    supersedes: str | None
    public_key_id: str | None

    def text(self) -> str:
        """The canonical JSON text, which is what is signed."""
        return canonical_text({"format": FILE_LIST, **asdict(self)})


def read_manifest(text: str) -> Manifest:
    """The manifest in a text.

    Raises:
        ManifestError: The text is not one, or not in its canonical form.
    """

    def make(values: Mapping[str, Any]) -> Manifest:
        ends = {end: tuple(values[end]) if values[end] is not None else None for end in ("first", "last")}
        return Manifest(**{**values, **ends})

    return read_document(text, MANIFEST, make)


def read_file_list(text: str) -> FileList:
    """The list of files in a text.

    Raises:
        ManifestError: The text is not one, or not in its canonical form.
    """

    def make(values: Mapping[str, Any]) -> FileList:
        files = tuple(ListedFile(**file) for file in values["files"])
        return FileList(**{**values, "files": files, "causes": tuple(values["causes"])})

    return read_document(text, FILE_LIST, make)


def read_document(text: str, wanted: str, make: Callable[[Mapping[str, Any]], _Document]) -> _Document:
    """The document in a text.

    Args:
        text: The text.
        wanted: Its format.
        make: Makes it of its members.

    Raises:
        ManifestError: The text is not one, or not in its canonical form.
    """
    try:
        values: dict[str, Any] = json.loads(text)
        name = values.pop("format")
        if name != wanted:
            raise ManifestError(f"its format is {name!r}; this version reads {wanted}")
        document = make(values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ManifestError(f"it is not a document of format {wanted}: {type(error).__name__}") from None
    if document.text() != text:
        raise ManifestError("its text is not canonical")
    return document
