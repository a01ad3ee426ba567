"""Seal a month: close it to writes, export it whole, prove what the lake holds, and keep that as its manifest.

`open → closing → (export) → sealed`. Every step is durable before the next, and the verb looks at where the month stands:
interrupted anywhere, the same verb goes on from there. What commits the seal is the store's transaction that holds state
and manifest; the lake's copy of the manifest follows, and is made good by the next seal if that was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.export.errors import SealRefusedError
from pipelines.export.home_log import copy_home_log, last_seal
from pipelines.export.listing import MonthFiles
from pipelines.export.month import export_month
from pipelines.export.result import ExportResult
from pipelines.export.sealed import SealResult, describe_seal, require_sealable
from pipelines.export.snapshot import month_bounds
from pipelines.lake.datasets import EVENTS, MERKLE_NODES, STREAM_MONTHS
from pipelines.lake.errors import CommitLostError
from pipelines.lake.lake import Lake
from pipelines.proof.manifest import Manifest
from pipelines.proof.parts import lay_out
from pipelines.proof.scan import Scan, scan_month
from pipelines.proof.signing import key_id, read_private_key
from pipelines.store import Entry, Store, sign
from pipelines.store.access import record_access

WAIT_SECONDS = 30.0
"""How long closing waits for writers that hold events of the month, before it gives up and names them."""


def seal_month(
    store: Store,
    lake: Lake,
    month: str,
    *,
    signing_key: Path | None = None,
    wait_seconds: float = WAIT_SECONDS,
    on_rows: Callable[[int, int], Any] | None = None,
) -> SealResult:
    """Seal a month that has ended, or find that it is sealed.

    Args:
        store: Where the month is closed and its manifest kept.
        lake: Where it is exported to.
        month: UTC month, YYYY-MM.
        signing_key: PEM file of an Ed25519 private key; None leaves the manifest unsigned.
        wait_seconds: How long to wait for writers of the month.
        on_rows: Called with the number of events exported, then of those proven, so far, and of how many.

    Raises:
        NotSealableError: The month has not ended, or its events wait in the DEFAULT partition, or there is no such month.
        StoreBusy: Writers held the month; the message names them.
        SealRefusedError: What was exported does not hold together; the month stays closing.
        ExportLossError: The store holds less of the month than the lake; likewise.
        CommitLostError: Another export of the month committed meanwhile; likewise, run it again.
    """
    started = time.monotonic()
    key = read_private_key(signing_key) if signing_key else None  # before anything is changed
    state, generation = require_sealable(store, month)
    exported = None
    if state != "sealed":
        if state == "open":
            generation = store.close_month(month, wait_seconds=wait_seconds)
        exported = export_month(store.dsn, lake, month, full=True, on_rows=on_rows)
        public_key_id = key_id(key.public_key()) if key else None
        proven = _Proven.read(lake, month, exported, on_rows)
        proven.keep_nodes(lake)
        entries = store.home_log()
        manifest = sign(proven.manifest(generation, entries, public_key_id).text(), key)
        files = sign(proven.files.first(manifest, generation, entries, public_key_id).text(), key)
        store.seal_month(month, manifest, files)
    copy_home_log(store, lake)
    return describe_seal(store, month, exported, started)


def unseal_month(store: Store, month: str, reason: str) -> int:
    """Open a closing or sealed month again as a new generation, which is answered, and record it; earlier manifests stay.

    Raises:
        InvalidEvent: There is no such month, or it is open.
    """
    with store.transaction():
        generation = store.unseal_month(month, reason)
        record_access(store, "unseal", reason, [], month=month)
    return generation


def month_bounds_us(month: str) -> tuple[int, int]:
    """The month as [from, to) in microseconds since 1970, exactly."""
    start, stop = ((at - datetime(1970, 1, 1, tzinfo=UTC)) for at in month_bounds(month))
    return _microseconds(start), _microseconds(stop) + (month == "9999-12")


def _microseconds(since: Any) -> int:
    return int((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


@dataclass(frozen=True, slots=True)
class _Proven:
    """What the lake holds of a closed month, read back and found to hold together."""

    month: str
    scan: Scan
    files: MonthFiles
    at: str

    @classmethod
    def read(cls, lake: Lake, month: str, exported: ExportResult, on_rows: Callable[[int, int], Any] | None) -> _Proven:
        """Read the month once.

        Raises:
            SealRefusedError: It does not hold together.
            CommitLostError: Another export of the month committed meanwhile.
        """
        partition = {"month": month}
        commit = lake.last_commit(EVENTS.name, partition)
        if commit is None:
            raise CommitLostError(EVENTS.name, f"month={month}", lake.table(EVENTS.name).number(partition))
        layout = lay_out(lake.files(EVENTS.name, partition))
        with lake.connect("SELECT 1") as connection:  # what is scanned are files: no relation is read
            scan = scan_month(
                layout,
                month_bounds_us(month),
                lake.files(STREAM_MONTHS.name, partition),
                connection,
                memory_bytes=lake.memory_bytes,
                on_rows=on_rows,
            )
        _refuse_damage(month, scan, exported)
        files = MonthFiles.of(lake, month, layout, commit)
        if lake.table(EVENTS.name).number(partition) != commit.number:
            raise CommitLostError(EVENTS.name, f"month={month}", commit.number + 1)
        return cls(month, scan, files, datetime.now(UTC).isoformat())

    def keep_nodes(self, lake: Lake) -> None:
        """Keep the nodes with which a proof needs to read little of the month."""
        root = self.scan.merkle_root
        assert root is not None
        rows = [("events", *node) for node in self.scan.nodes] + [("heads", *node) for node in self.scan.head_nodes]
        columns = zip(*rows, strict=True) if rows else ((), (), (), ())
        named = dict(zip(("tree", "level", "place", "hash"), (list(column) for column in columns), strict=True))
        fields = [field for field in MERKLE_NODES.arrow_schema() if field.name in named]
        with lake.replacing(MERKLE_NODES, {"month": self.month}) as writer:
            writer.write(pa.table(named, schema=pa.schema(fields)))
            writer.commit(input_hash=root.hex())

    def manifest(self, generation: int, entries: Sequence[Entry], public_key_id: str | None) -> Manifest:
        """What proves the month's rows for ever."""
        scan, before = self.scan, last_seal(entries, self.month)
        assert scan.merkle_root is not None
        assert scan.heads_root is not None
        return Manifest(
            month=self.month,
            generation=generation,
            rows=scan.rows,
            streams=scan.streams,
            first=scan.first,
            last=scan.last,
            merkle_root=scan.merkle_root.hex(),
            heads_root=scan.heads_root.hex(),
            code_version=metadata.version("refold"),
            sealed_at=self.at,
            supersedes=before[0].sha256 if before else None,
            public_key_id=public_key_id,
        )


def _refuse_damage(month: str, scan: Scan, exported: ExportResult) -> None:
    if scan.unreadable:
        file, reason = next(iter(scan.unreadable.items()))
        raise SealRefusedError(month, f"{file} cannot be read ({reason})")
    if scan.flaws:
        flaw = scan.flaws[0]
        kind = flaw.kind.replace("_", " ")
        raise SealRefusedError(
            month,
            f"{sum(scan.counts.values()):,} events do not fit, first stream {flaw.aggregate_id} version "
            f"{flaw.stream_version} in {flaw.file}: {kind}",
        )
    if (scan.rows, scan.streams) != (exported.rows, exported.streams):
        raise SealRefusedError(
            month,
            f"the lake holds {scan.rows:,} events of {scan.streams:,} streams, the export said {exported.rows:,} of "
            f"{exported.streams:,}",
        )
