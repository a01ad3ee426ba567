"""The document of an erasure: which events lost their content, and why, in words that say nothing of whom they were about.

Text like the documents of months: canonical JSON, the same bytes wherever it is kept, and its signature is over exactly these.
It is the record of the erasure and all that is needed to do it again, on a store that came back from a backup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from pipelines.canonical.jcs import canonical_text
from pipelines.proof.manifest import read_document

ERASURE = "refold-erasure/1"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """Events of one stream.

    Attributes:
        stream: The stream's id.
        first: Version of the first of them.
        last: Version of the last.
        is_whole: Whether these are all that the stream had: it then takes no more.
    """

    stream: str
    first: int
    last: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure, or a part of one that names many streams.

    Attributes:
        erasure: Its id, of all parts; the stream of its events, of which each part is one.
        reason: Why, in the words of who asked.
        targets: What is erased, by stream and version.
        code_version: Version of Refold that recorded it.
        recorded_at: When, UTC, ISO 8601.
        public_key_id: Id of the key it is signed with; None when it is not.
    """

    erasure: str
    reason: str
    targets: tuple[Target, ...]
    code_version: str
    recorded_at: str
    public_key_id: str | None

    def text(self) -> str:
        """The canonical JSON text, which is what is signed."""
        return canonical_text({"format": ERASURE, **asdict(self)})


def read_erasure(text: str) -> Erasure:
    """The erasure in a text.

    Raises:
        ManifestError: The text is not one, or not in its canonical form.
    """

    def make(values: Mapping[str, Any]) -> Erasure:
        UUID(values["erasure"])
        targets = tuple(Target(**target) for target in values["targets"])
        for each in targets:
            UUID(each.stream)
            if not 0 < each.first <= each.last < 2**31:
                raise ValueError("versions")
        return Erasure(**{**values, "targets": targets})

    return read_document(text, ERASURE, make)
