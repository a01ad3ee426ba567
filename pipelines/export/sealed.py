"""Whether a month may be sealed, or is, and what its seal says: nothing here seals."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.export.errors import NotSealableError
from pipelines.export.home_log import copied_entries, last_seal
from pipelines.export.result import ExportResult
from pipelines.export.snapshot import month_bounds
from pipelines.lake.lake import Lake
from pipelines.store import Store


@dataclass(frozen=True, slots=True)
class SealResult:
    """What sealing a month did.

    Attributes:
        month: UTC month, YYYY-MM.
        generation: How often the month was opened.
        is_written: False when the month was sealed already.
        rows: Events of the month.
        streams: Streams with events in it.
        merkle_root: Root over its events, hex.
        manifest_sha256: Hash of the manifest's text, hex: what to note elsewhere.
        public_key_id: Id of the key that signed it, None when it is not signed.
        exported: The export that the seal made, None when the month was sealed already.
        seconds: Time taken.
    """

    month: str
    generation: int
    is_written: bool
    rows: int
    streams: int
    merkle_root: str
    manifest_sha256: str
    public_key_id: str | None
    exported: ExportResult | None
    seconds: float


def find_sealed(store: Store, lake: Lake, month: str) -> SealResult | None:
    """What `seal_month` would say of a month that is sealed, with its manifest in the lake; None where it has something to do.

    Raises:
        NotSealableError: See `seal_month`.
    """
    started = time.monotonic()
    state, _generation = require_sealable(store, month)
    if state != "sealed" or store.home_log(copied_entries(lake)):
        return None
    return describe_seal(store, month, None, started)


def describe_seal(store: Store, month: str, exported: ExportResult | None, started: float) -> SealResult:
    """What a seal of a month came to that is sealed now; `started` by the monotonic clock."""
    found = last_seal(store.home_log(), month)
    assert found is not None
    signed, manifest = found
    return SealResult(
        month=month,
        generation=manifest.generation,
        is_written=exported is not None,
        rows=manifest.rows,
        streams=manifest.streams,
        merkle_root=manifest.merkle_root,
        manifest_sha256=signed.sha256,
        public_key_id=manifest.public_key_id,
        exported=exported,
        seconds=time.monotonic() - started,
    )


def require_sealable(store: Store, month: str) -> tuple[str, int]:
    """State and generation of a month that may be sealed, or is.

    Raises:
        NotSealableError: See `seal_month`.
    """
    found = store.month_state(month)
    if found is None:
        known = [status.month for status in store.months() if status.events]
        raise NotSealableError(f"there is no month {month!r}; months with events are {', '.join(known) or 'none'}")
    if found[0] == "stray":
        raise NotSealableError(
            f"month {month} has no partition: its events wait in the DEFAULT partition. "
            f"Move them with `refold db months --make {month}`, then seal it"
        )
    if month_bounds(month)[1] > datetime.now(UTC):
        raise NotSealableError(
            f"month {month} has not ended; sealed, it would refuse what happens until then. It can be sealed from "
            f"{month_bounds(month)[1]:%Y-%m-%d %H:%M} UTC"
        )
    return found
