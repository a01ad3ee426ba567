"""Evidence: what the log holds of a stream or about a person, as files that an outsider checks without Refold. See docs/audit-format.md.

The access is recorded before a byte is written, and what was written is checked by the verifier that lies in it before it stands
under its name: what would not hold is not handed out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.canonical.jcs import plain_bytes
from pipelines.evidence import bundle_files, verify_bundle
from pipelines.evidence.bundle_files import building, list_text, readme_text, require_place, zip_of
from pipelines.evidence.bundle_report import render_report
from pipelines.evidence.chain_lines import Chain, write_chain
from pipelines.evidence.chosen import Chosen
from pipelines.evidence.sealed_months import NotProvenError, SealedMonths, Signatures
from pipelines.lake.lake import Lake
from pipelines.proof.note import SIGNED, Verifier
from pipelines.proof.signing import key_id
from pipelines.store import Store
from pipelines.store.access import Accessed, record_access

FORMAT = "refold-audit/1"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Evidence that was written.

    Attributes:
        folder: Where it is.
        zip: The same as one file.
        access: The record of this access in the log.
        streams: Streams that it is of.
        events: Events that it has.
        said: How many of them are shown, redacted, erased, outside of the time asked for, not about the person.
        sealed: Sealed months that prove some of them.
        chain_only: Events that the chain alone binds, by month.
        origin: The log's name.
        public_key_id: Id of the key that signed it; None without one.
        verifier_sha256: Hash (hex) of its `verify_bundle.py`.
    """

    folder: Path
    zip: Path
    access: UUID
    streams: int
    events: int
    said: dict[str, int]
    sealed: tuple[str, ...]
    chain_only: dict[str, int]
    origin: str
    public_key_id: str | None
    verifier_sha256: str


class BundleMaker:
    """Makes bundles of a home; the log's state is read once, so that many cost little more than their events.

    Args:
        store: Where accesses are recorded; its home log is what months are proven by.
        lake: Holds the events.
        origin: The log's name.
        key: Signs; None leaves bundles unsigned.
    """

    def __init__(self, store: Store, lake: Lake, origin: str, key: Ed25519PrivateKey | None) -> None:
        self._store = store
        self._lake = lake
        self._signatures = Signatures(origin, key)
        self._months = SealedMonths(lake, store.home_log(), self._signatures)
        self._verifier = Path(verify_bundle.__file__).read_bytes()

    def make(self, chosen: Chosen, folder: Path, reason: str) -> Bundle:
        """Write evidence, and its zip beside it.

        Args:
            chosen: Of what.
            folder: Where; a bundle that is there is replaced.
            reason: Why; kept in the log, and not in the bundle.

        Raises:
            BadInputError: Something else is in the place, or it cannot be written.
            NotProvenError: What the lake holds does not fit together; nothing was written.
        """
        place = require_place(folder)
        targets = [Accessed(each.stream, 1, each.last) for each in chosen.streams]
        access = record_access(self._store, "audit", reason, targets)
        with building(place, self._check) as made:
            chains, months = self._write(made, chosen, access)
        key = self._signatures.key
        return Bundle(
            folder=place,
            zip=zip_of(place),
            access=access,
            streams=len(chains),
            events=sum(len(chain.said) for chain in chains),
            said={str(name): count for name, count in sum((chain.counts for chain in chains), Counter()).items()},
            sealed=tuple(months),
            chain_only=self._chain_only(chains),
            origin=self._signatures.origin,
            public_key_id=None if key is None else key_id(key.public_key()),
            verifier_sha256=hashlib.sha256(self._verifier).hexdigest(),
        )

    def _write(self, made: Path, chosen: Chosen, access: UUID) -> tuple[list[Chain], list[str]]:
        with (made / bundle_files.EVENTS).open("xb") as output:
            chains = [write_chain(self._lake, each, chosen.period, output) for each in chosen.streams]
        months = self._prove(chains)
        proof = self._proof(chosen, chains, months, access)
        (made / bundle_files.PROOF).write_bytes(plain_bytes(proof) + b"\n")
        (made / bundle_files.VERIFIER).write_bytes(self._verifier)
        (made / bundle_files.README).write_text(readme_text(self._verifier), encoding="utf-8")
        page = render_report(self._lake, chains, self._months.is_sealed, proof)
        (made / bundle_files.REPORT).write_text(page, encoding="utf-8")
        listed = list_text(made, self._signatures.origin)
        (made / bundle_files.LIST).write_text(self._signatures.note(listed), encoding="utf-8")
        return chains, [month["month"] for month in months]

    def _prove(self, chains: Sequence[Chain]) -> list[dict[str, Any]]:
        """What proves the chains' events of sealed months, as `proof.json` has it."""
        streams: dict[str, list[dict[str, Any]]] = {}
        for chain in chains:
            for month, (first, last) in chain.months.items():
                if self._months.is_sealed(month):
                    proven = self._months.month(month).prove(chain.chosen.stream, first, last)
                    streams.setdefault(month, []).append(proven)
        return [self._months.month(month).describe(found) for month, found in sorted(streams.items())]

    def _proof(
        self, chosen: Chosen, chains: Sequence[Chain], months: Sequence[dict[str, Any]], access: UUID
    ) -> dict[str, Any]:
        """What `proof.json` says."""
        key = self._signatures.key
        return {
            "format": FORMAT,
            "origin": self._signatures.origin,
            "key": None if key is None else Verifier(self._signatures.origin, SIGNED, key.public_key()).text,
            "made_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "code_version": metadata.version("refold"),
            "access": str(access),
            "asked": dict(chosen.asked),
            "streams": [chain.describe() for chain in chains],
            "months": list(months),
            "checkpoint": self._months.checkpoint if months else None,
        }

    def _check(self, written: Path) -> None:
        """Refuse what would not hold."""
        key = self._signatures.key
        try:
            verify_bundle.verify(str(written), [] if key is None else [key.public_key().public_bytes_raw()])
        except (verify_bundle.Failure, verify_bundle.Unreadable) as error:
            raise NotProvenError(
                f"what the lake holds does not fit together, so no evidence was written: {error}. `refold verify` says what is wrong"
            ) from None

    def _chain_only(self, chains: Sequence[Chain]) -> dict[str, int]:
        found: Counter[str] = Counter()
        for chain in chains:
            for month, (first, last) in chain.months.items():
                if not self._months.is_sealed(month):
                    found[month] += last - first + 1
        return dict(sorted(found.items()))
