"""The documents of sealed months: readable, each naming the one before, signed, and what was read of the month compared with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pipelines.audit.findings import Code, MonthAudit, Place
from pipelines.export.snapshot import month_bounds
from pipelines.proof.manifest import FileList, Manifest, ManifestError, read_file_list, read_manifest
from pipelines.proof.scan import Scan
from pipelines.proof.signing import PublicKeys, is_signed_by
from pipelines.store import Entry, Signed

_Document = TypeVar("_Document", Manifest, FileList)


@dataclass(frozen=True, slots=True)
class Measure:
    """What a sealed month must be: its newest manifest, and the newest list of its files where one can be used."""

    manifest: Manifest
    files: FileList | None


class DocumentAuditor:
    """Checks manifests and lists of files with the keys given.

    Args:
        keys: Public keys by id.
        must_be_signed: Whether a document without a signature is a finding: somebody expects one.
        at: Months that ended before then are expected sealed, where signatures are.
    """

    def __init__(self, keys: PublicKeys, *, must_be_signed: bool, at: datetime) -> None:
        self._keys = keys
        self._must_be_signed = must_be_signed
        self._at = at

    def expects_seal(self, month: str) -> bool:
        """Whether a month without a signed manifest is a finding."""
        return self._must_be_signed and month_bounds(month)[1] <= self._at

    def audit(self, audit: MonthAudit, sides: Mapping[Place, Sequence[Entry]]) -> Measure | None:
        """Check the documents of all generations of a month; the newest that can be used.

        Args:
            audit: Where findings go; gets the newest generation.
            sides: The month's entries in the home log of the store, where there is one, and of the lake.
        """
        newest: tuple[Signed, Manifest] | None = None
        for generation, found in self._read_all(audit, "sealed", sides, read_manifest):
            audit.generation = generation
            if found is not None:
                self._follow(audit, f"the manifest of generation {generation}", found[1], newest)
                newest = found
        files: tuple[Signed, FileList] | None = None
        for generation, listed in self._read_all(audit, "files", sides, read_file_list):
            if listed is not None:
                self._follow(
                    audit, f"list {listed[1].number} of the files of generation {generation}", listed[1], files
                )
                files = listed
        if newest is None:
            return None
        if files is None or files[1].manifest_sha256 != newest[0].sha256:
            audit.find("manifest_missing", "manifest", f"no list of files names manifest {newest[0].sha256}")
            return Measure(newest[1], None)
        return Measure(newest[1], files[1])

    def _read_all(
        self, audit: MonthAudit, kind: str, sides: Mapping[Place, Sequence[Entry]], read: Callable[[str], _Document]
    ) -> Iterator[tuple[int, tuple[Signed, _Document] | None]]:
        """Each document of a kind, in order: its generation, and the first side's text of it that can be used."""
        places = {
            each.entry: each.generation or 0 for entries in sides.values() for each in entries if each.kind == kind
        }
        for number, generation in sorted(places.items()):
            texts: dict[Signed, Place] = {}
            for place, entries in sides.items():
                texts |= {each.signed: place for each in entries if each.entry == number and each.signed not in texts}
            read_here = [(text, self._read(audit, generation, place, text, read)) for text, place in texts.items()]
            good = [(text, document) for text, document in read_here if document is not None]
            yield generation, (good[0] if good else None)

    @staticmethod
    def _follow(audit: MonthAudit, what: str, document: _Document, before: tuple[Signed, _Document] | None) -> None:
        there = before[0].sha256 if before else None
        if document.supersedes != there:
            code: Code = "manifest_missing" if there is None else "manifest_differs"
            audit.find(code, "manifest", f"{what} supersedes {document.supersedes}, there is {there}")

    def _read(
        self, audit: MonthAudit, generation: int, place: Place, signed: Signed, read: Callable[[str], _Document]
    ) -> _Document | None:
        try:
            document = read(signed.text)
        except ManifestError as error:
            audit.find("manifest_invalid", place, f"generation {generation}: {error}")
            return None
        if (document.month, document.generation) != (audit.month, generation):
            detail = f"that of generation {generation} speaks of {document.month} generation {document.generation}"
            audit.find("manifest_invalid", place, detail)
            return None

        def note(unchecked: str) -> None:
            if unchecked not in audit.not_checked:
                audit.not_checked.append(unchecked)

        what = "the manifest" if isinstance(document, Manifest) else "the list of files"
        problem = signature_problem(
            signed,
            document.public_key_id,
            f"{what} of generation {generation}",
            self._keys,
            must_be_signed=self._must_be_signed,
            note=note,
        )
        if problem is None:
            return document
        # A document that its signature speaks against measures nothing.
        audit.find(problem[0], place, problem[1])
        return None


def signature_problem(
    signed: Signed,
    public_key_id: str | None,
    what: str,
    keys: PublicKeys,
    *,
    must_be_signed: bool,
    note: Callable[[str], None],
) -> tuple[Code, str] | None:
    """What speaks against a document's signature; None where nothing does.

    Args:
        signed: The document.
        public_key_id: The key that it says it is signed with.
        what: What to call it.
        keys: Public keys by id.
        must_be_signed: Whether one without a signature is a finding.
        note: Told of a key that was not given, where no signature is demanded.
    """
    if signed.signature is None:
        is_promised = public_key_id is not None or must_be_signed
        return ("signature_missing", f"{what} is not signed") if is_promised else None
    if public_key_id is None:
        return "signature_wrong", f"{what} names no key and has a signature"
    key = keys.get(public_key_id)
    if key is not None:
        is_good = is_signed_by(key, signed.signature, signed.text.encode())
        return None if is_good else ("signature_wrong", f"the signature is not that of {what}")
    if must_be_signed:
        return "signature_wrong", f"{what} is signed by key {public_key_id}, which is none of those given"
    note(f"signatures by key {public_key_id}: no such public key was given")
    return None


def compare_totals(audit: MonthAudit, manifest: Manifest, scan: Scan) -> None:
    """Compare what was read of a month with its manifest: rows, streams, order, roots.

    Args:
        audit: Gets the findings.
        manifest: What it should be.
        scan: What was read; its roots are None when some could not be, which is a finding already.
    """
    if scan.merkle_root is None or scan.heads_root is None:
        return
    for what, seen, said in (("events", scan.rows, manifest.rows), ("streams", scan.streams, manifest.streams)):
        if seen != said:
            audit.find("count_differs", "lake", f"{seen:,} {what} in the lake, the manifest says {said:,}")
    roots: tuple[tuple[Code, str, bytes, str], ...] = (
        ("merkle_root_differs", "the events' Merkle root", scan.merkle_root, manifest.merkle_root),
        ("head_differs", "the root over the streams' heads", scan.heads_root, manifest.heads_root),
    )
    for code, what, root, said_root in roots:
        if root.hex() != said_root:
            audit.find(code, "lake", f"{what} is {root.hex()}, the manifest says {said_root}")
    if (scan.first, scan.last) != (manifest.first, manifest.last):
        audit.find("order_differs", "lake", "first and last (epoch, xid, position) are not those of the manifest")
