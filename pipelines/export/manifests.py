"""The manifests in the lake: a copy of the store's, so that the lake can be audited where the store is not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipelines.lake.datasets import MANIFESTS
from pipelines.lake.lake import Lake
from pipelines.proof.manifest import SignedManifest
from pipelines.store import Store, StoredManifest

_MANIFESTS = "SELECT DISTINCT month, generation, manifest, signature, sealed_at FROM manifests ORDER BY ALL"


@dataclass(frozen=True, slots=True)
class KeptManifest:
    """One month's and generation's manifest as the lake or the store keeps it; `sealed_at` is the store's clock, UTC."""

    month: str
    generation: int
    signed: SignedManifest
    sealed_at: datetime


def stored_manifest(stored: StoredManifest) -> KeptManifest:
    """A manifest of the store."""
    return KeptManifest(
        stored.month, stored.generation, SignedManifest(stored.manifest, stored.signature), stored.sealed_at
    )


def lake_manifests(lake: Lake) -> list[KeptManifest]:
    """The manifests in the lake by month and generation; one that is there twice, in the same words, is given once."""
    with lake.connect(_MANIFESTS) as connection:
        rows = connection.sql(_MANIFESTS).fetchall()
    return [
        KeptManifest(month, generation, SignedManifest(text, signature), sealed_at)
        for month, generation, text, signature, sealed_at in rows
    ]


def missing_manifests(store: Store, lake: Lake) -> list[KeptManifest]:
    """The store's manifests that the lake lacks."""
    there = {(kept.month, kept.generation) for kept in lake_manifests(lake)}
    return [kept for kept in map(stored_manifest, store.manifests()) if (kept.month, kept.generation) not in there]


def copy_manifests(store: Store, lake: Lake) -> int:
    """Bring the store's manifests that the lake lacks into it; how many those were. Nothing is ever replaced."""
    missing = missing_manifests(store, lake)
    if missing:
        lake.append(
            MANIFESTS,
            [
                {
                    "month": kept.month,
                    "generation": kept.generation,
                    "manifest": kept.signed.text,
                    "manifest_sha256": kept.signed.sha256,
                    "signature": kept.signed.signature,
                    "sealed_at": kept.sealed_at,
                }
                for kept in missing
            ],
        )
    return len(missing)
