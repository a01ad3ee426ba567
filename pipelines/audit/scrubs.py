"""Scrubs: each record readable, signed where that is expected, and covering only what was recorded before it.

What a scrub did is not seen from here: its record says so, and what it could not reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipelines.audit.documents import signature_problem
from pipelines.audit.findings import Finding, Place
from pipelines.proof.manifest import ManifestError
from pipelines.proof.scrub import read_scrub
from pipelines.proof.signing import PublicKeys
from pipelines.store import Entry, Signed


def audit_scrubs(
    sides: Mapping[Place, Sequence[Entry]], keys: PublicKeys, notes: list[str], *, must_be_signed: bool
) -> Iterator[Finding]:
    """Check the scrubs that either side has recorded.

    Args:
        sides: The entries of the home log of the store, where there is one, and of the lake.
        keys: Public keys by id.
        notes: Gets what could not be checked.
        must_be_signed: Whether a document without a signature is a finding.
    """

    def note(unchecked: str) -> None:
        if unchecked not in notes:
            notes.append(unchecked)

    read: set[tuple[int, Signed]] = set()
    for place, entries in sides.items():
        for each in entries:
            if each.kind != "scrubbed" or (each.entry, each.signed) in read:
                continue
            read.add((each.entry, each.signed))
            what = f"the scrub of entry {each.entry} of the home log"
            try:
                document = read_scrub(each.signed.text)
            except ManifestError as error:
                yield Finding("manifest_invalid", None, place, f"{what}: {error}")
                continue
            if document.covers is not None and document.covers >= each.entry:
                yield Finding("manifest_invalid", None, place, f"{what} covers entry {document.covers}, after it")
            problem = signature_problem(
                each.signed, document.public_key_id, what, keys, must_be_signed=must_be_signed, note=note
            )
            if problem is not None:
                yield Finding(problem[0], None, place, problem[1])
