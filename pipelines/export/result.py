"""What an export of a month came to, and of which months it would come to the same again: nothing here exports."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.export.snapshot import Snapshot, is_sorted, take_snapshot
from pipelines.lake.datasets import EVENTS, STREAM_MONTHS
from pipelines.lake.lake import Commit, Lake
from pipelines.store import Store, connect
from pipelines.store.sqlstate import typed_errors


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What one month's export did.

    Attributes:
        month: UTC month, YYYY-MM.
        is_written: False when the lake already held exactly this.
        is_sorted: Whether the month is in its one compacted form: all of it sorted by (aggregate_id, stream_version).
        rows: Events of the month.
        added_rows: Events that the lake did not hold before; all of them when that is not remembered.
        late_rows: Those among them that came after the month had ended and been exported.
        streams: Streams with events in the month.
        erasures: Erasures done in the month, counted stream by stream.
        size_bytes: Bytes of the month's event files.
        input_hash: Hash of what was exported: rows and last position of the month.
        seconds: Time taken.
    """

    month: str
    is_written: bool
    is_sorted: bool
    rows: int
    added_rows: int
    late_rows: int
    streams: int
    erasures: int
    size_bytes: int
    input_hash: str
    seconds: float


class Held:
    """What the lake holds of a month, beside what the store does at one moment.

    Args:
        lake: The lake.
        now: The store's month.

    Attributes:
        now: As given.
        known: The last commits of the month, of `events` and of `stream_months`.
    """

    def __init__(self, lake: Lake, now: Snapshot) -> None:
        self.now = now
        partition = {"month": now.month}
        self.known = (lake.last_commit(EVENTS.name, partition), lake.last_commit(STREAM_MONTHS.name, partition))

    def unchanged(self) -> tuple[Commit, Commit] | None:
        """The last commits of both tables, if they are of this very content."""
        events, heads = self.known
        if events is None or heads is None or events.input_hash != heads.input_hash or not self.now.is_held_by(events):
            return None
        return events, heads

    def result(self, commits: tuple[Commit, Commit], started: float, *, is_written: bool) -> ExportResult:
        """What the export comes to, with the last commits of both tables."""
        events, heads = commits
        before = self.known[0]
        added = self.now.rows - (before.row_count if before is not None else 0)
        is_late = before is not None and before.committed_at >= self.now.stop
        return ExportResult(
            month=self.now.month,
            is_written=is_written,
            is_sorted=is_sorted(events),
            rows=self.now.rows,
            added_rows=added,
            late_rows=added if is_late else 0,
            streams=heads.row_count,
            erasures=self.now.erasures,
            size_bytes=events.size_bytes,
            input_hash=events.input_hash,
            seconds=time.monotonic() - started,
        )


def find_exported(dsn: str, lake: Lake, months: Sequence[str]) -> dict[str, ExportResult]:
    """What exports would say of those of the months that the lake holds already just as the store does; nothing is written.

    Args:
        dsn: The store.
        lake: Where exports go.
        months: UTC months, YYYY-MM.

    Raises:
        StoreUnavailable: The server went away.
    """
    found = {}
    with typed_errors(), connect(dsn) as store:
        store.autocommit = False
        for month in months:
            started = time.monotonic()
            held = Held(lake, take_snapshot(store, month))
            unchanged = held.unchanged()
            if unchanged is not None:
                found[month] = held.result(unchanged, started, is_written=False)
            store.rollback()
    return found


def months_to_export(store: Store, lake: Lake) -> list[str]:
    """Months with events in the store or rows in the lake, ascending; strays are listed under their own month."""
    return sorted({status.month for status in store.months() if status.events} | set(lake.months(EVENTS.name)))
