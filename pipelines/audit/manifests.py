"""The manifests: the store's and the lake's the same, readable, each naming the one before, and signed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import duckdb

from pipelines.audit.findings import Code, MonthAudit, Place
from pipelines.lake.datasets import MANIFESTS
from pipelines.lake.lake import Lake
from pipelines.proof.manifest import Manifest, ManifestError, SignedManifest
from pipelines.proof.signing import PublicKeys, is_signed_by


@dataclass(frozen=True, slots=True)
class Kept:
    """A month's and generation's manifest as one side keeps it."""

    month: str
    generation: int
    signed: SignedManifest


def lake_manifests(lake: Lake) -> list[Kept]:
    """The lake's, read without any other table.

    Raises:
        DeltaError: The table's log is damaged.
        duckdb.Error: One of its files is damaged.
    """
    files = lake.files(MANIFESTS.name)
    if not files:
        return []
    with duckdb.connect() as connection:
        rows = connection.sql(
            "SELECT DISTINCT month, generation, manifest, signature FROM read_parquet($files) ORDER BY ALL",
            params={"files": files},
        ).fetchall()
    return [Kept(month, generation, SignedManifest(text, signature)) for month, generation, text, signature in rows]


class ManifestAuditor:
    """Checks manifests with the keys given.

    Args:
        keys: Public keys by id.
        must_be_signed: Whether an unsigned manifest is a finding: somebody expects a signature.
    """

    def __init__(self, keys: PublicKeys, *, must_be_signed: bool) -> None:
        self._keys = keys
        self._must_be_signed = must_be_signed

    def audit(self, audit: MonthAudit, lake: Iterable[Kept], store: Iterable[Kept] | None) -> Manifest | None:
        """Check all generations of a month; its newest readable manifest.

        Args:
            audit: Where findings go; gets the newest generation.
            lake: The month's manifests in the lake.
            store: Those in the store, None when there is no store to ask.
        """
        sides: dict[int, dict[Place, list[SignedManifest]]] = defaultdict(lambda: {"store": [], "lake": []})
        for kept in store or ():
            sides[kept.generation]["store"].append(kept.signed)
        for kept in lake:
            sides[kept.generation]["lake"].append(kept.signed)
        newest, before = None, None
        for generation in sorted(sides):
            audit.generation = generation
            self._compare(audit, generation, sides[generation], has_store=store is not None)
            good = [
                (signed, manifest)
                for place, kept_there in sides[generation].items()
                for signed in kept_there
                if (manifest := self._read(audit, generation, place, signed)) is not None
            ]
            if good:
                signed, newest = good[0]
                if newest.supersedes != before:
                    code: Code = "manifest_missing" if before is None else "manifest_differs"
                    detail = f"generation {generation} supersedes manifest {newest.supersedes}, there is {before}"
                    audit.find(code, "manifest", detail)
                before = signed.sha256
        return newest

    def _compare(
        self, audit: MonthAudit, generation: int, sides: dict[Place, list[SignedManifest]], *, has_store: bool
    ) -> None:
        if not sides["lake"]:
            audit.find(
                "manifest_missing", "lake", f"the store has a manifest of generation {generation}, the lake none"
            )
        elif has_store and not sides["store"]:
            audit.find(
                "manifest_missing", "store", f"the lake has a manifest of generation {generation}, the store none"
            )
        if len({*sides["lake"], *sides["store"]}) > 1:
            hashes = sorted({signed.sha256 for side in sides.values() for signed in side})
            what = f"there are {', '.join(hashes)}" if len(hashes) > 1 else "their signatures differ"
            audit.find(
                "manifest_differs", "manifest", f"the manifests of generation {generation} are not the same: {what}"
            )

    def _read(self, audit: MonthAudit, generation: int, place: Place, signed: SignedManifest) -> Manifest | None:
        try:
            manifest = signed.read()
        except ManifestError as error:
            audit.find("manifest_invalid", place, f"generation {generation}: {error}")
            return None
        if (manifest.month, manifest.generation) != (audit.month, generation):
            detail = f"that of generation {generation} speaks of {manifest.month} generation {manifest.generation}"
            audit.find("manifest_invalid", place, detail)
            return None
        problem = self._signature_problem(audit, signed, manifest)
        if problem is None:
            return manifest
        # A manifest that its signature speaks against measures nothing.
        audit.find(problem[0], place, f"generation {generation}: {problem[1]}")
        return None

    def _signature_problem(
        self, audit: MonthAudit, signed: SignedManifest, manifest: Manifest
    ) -> tuple[Code, str] | None:
        """What speaks against a manifest's signature; a key that is not known is noted."""
        if signed.signature is None:
            is_promised = manifest.public_key_id is not None or self._must_be_signed
            return ("signature_missing", "the manifest is not signed") if is_promised else None
        if manifest.public_key_id is None:
            return "signature_wrong", "the manifest names no key and has a signature"
        key = self._keys.get(manifest.public_key_id)
        if key is not None:
            is_good = is_signed_by(key, signed.signature, signed.text.encode())
            return None if is_good else ("signature_wrong", "the signature is not that of the manifest")
        if self._must_be_signed:
            return "signature_wrong", f"it is signed by key {manifest.public_key_id}, which is none of those given"
        note = f"signature of generation {manifest.generation}: no public key {manifest.public_key_id} was given"
        if note not in audit.not_checked:
            audit.not_checked.append(note)
        return None


def compare_totals(
    audit: MonthAudit, manifest: Manifest, root: bytes | None, ends: Sequence[tuple[int, int, int] | None]
) -> None:
    """Compare what was read of a month with its manifest: rows, streams, order, root.

    Args:
        audit: Has the rows and streams read; gets the findings.
        manifest: What they should be.
        root: The Merkle root over what was read; None when some could not be, which is a finding already.
        ends: Smallest and largest (epoch, xid, position) read.
    """
    against: list[tuple[str, int, int, Callable[[int], str]]] = [
        ("events", audit.rows, manifest.rows, "{:,}".format),
        ("streams", audit.streams, manifest.streams, "{:,}".format),
    ]
    if root is None:
        return
    for what, seen, said, shown in against:
        if seen != said:
            audit.find("count_differs", "lake", f"{shown(seen)} {what} in the lake, the manifest says {shown(said)}")
    if root.hex() != manifest.merkle_root:
        audit.find(
            "merkle_root_differs",
            "lake",
            f"the events' Merkle root is {root.hex()}, the manifest says {manifest.merkle_root}",
        )
    if tuple(ends) != (manifest.first, manifest.last):
        audit.find("order_differs", "lake", "first and last (epoch, xid, position) are not those of the manifest")
