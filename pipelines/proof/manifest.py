"""The manifest of a sealed month: what it held, in one small document that can be signed and kept elsewhere.

A manifest is text: canonical JSON (RFC 8785), the same bytes wherever it is kept. Its signature is over exactly these
bytes. Each generation's manifest names the hash of the one before it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.canonical.jcs import canonical_text
from pipelines.errors import RefoldError

FORMAT = "refold-manifest/1"


class ManifestError(RefoldError):
    """A text is not a manifest that this version reads."""


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One data file: path relative to the table's folder, SHA-256 (hex), bytes and rows."""

    path: str
    sha256: str
    size_bytes: int
    row_count: int


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
        files: The month's files of `events`, in the order of their rows.
        merkle_root: Root (hex) of the tree over the events by stream and version.
        delta_version: Version of the Delta table `events` that holds them.
        commit_number: Number of that commit of the month.
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
    files: tuple[ManifestFile, ...]
    merkle_root: str
    delta_version: int
    commit_number: int
    code_version: str
    sealed_at: str
    supersedes: str | None
    public_key_id: str | None

    def text(self) -> str:
        """The canonical JSON text, which is what is signed."""
        return canonical_text({"format": FORMAT, **asdict(self)})


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest as it is kept: its text, byte for byte, and the signature over it, if any."""

    text: str
    signature: bytes | None

    @property
    def sha256(self) -> str:
        """Hash of the text, hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def read(self) -> Manifest:
        """The manifest in the text.

        Raises:
            ManifestError: The text is not one, or not in its canonical form.
        """
        try:
            values: dict[str, Any] = json.loads(self.text)
            name = values.pop("format")
            if name != FORMAT:
                raise ManifestError(f"its format is {name!r}; this version reads {FORMAT}")
            values["files"] = tuple(ManifestFile(**file) for file in values["files"])
            for end in ("first", "last"):
                values[end] = tuple(values[end]) if values[end] is not None else None
            manifest = Manifest(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ManifestError(f"it is not a manifest: {type(error).__name__}") from None
        if manifest.text() != self.text:
            raise ManifestError("its text is not canonical")
        return manifest
