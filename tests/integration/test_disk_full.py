"""A disk that fills up in the middle: one clear error, the old version intact, and the next run with space succeeds.

The disk is a small tmpfs that each test mounts; where that is not allowed, the tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest

from pipelines.export.month import export_month
from pipelines.folds.run import fold_month
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.datasets import EVENTS, STREAM_MONTHS
from pipelines.lake.errors import DiskFullError
from pipelines.lake.housekeeping import vacuum
from pipelines.lake.lake import Lake
from pipelines.lake.table import Table
from pipelines.recorder.packet import Packet, write_line
from pipelines.recorder.spill import SpillFile
from pipelines.store import NewEvent, Store
from tests.integration.log_equality import require_equal
from tests.support.verbs import run_verb

JANUARY = datetime(2026, 1, 5, tzinfo=UTC)
DISK_BYTES = 8 * 2**20
ROWS = "SELECT 's' || i AS aggregate_id, 'call' AS aggregate_type, 1 AS first_version, 1 AS last_version, 1 AS event_count, 0 AS erased_events, NULL AS prev_hash, NULL AS last_hash FROM range($n) r(i)"


class Disk:
    """A small disk of its own, and a file that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Leave this many bytes free."""
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_bsize
        with self._filler.open("ab") as file:
            file.write(os.urandom(max(free - leave, 0)))

    def empty(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A tmpfs of 8 MiB at `disk/` in the test's folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("no small disk: mounting a tmpfs needs root and the capability to mount")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def say(store: Store, texts: int, size: int = 20) -> None:
    """Append texts that do not compress."""
    store.ensure_months([JANUARY])
    events = [
        NewEvent("user.utterance.v1", {"text": os.urandom(size // 2).hex()}, {"actor": "user"}, JANUARY)
        for _ in range(texts)
    ]
    store.append(uuid4(), "conversation", events, "any")


def count(lake: Lake, table: str = "events") -> int:
    with lake.connect() as connection:
        return connection.sql(f"SELECT count(*) FROM {table}").fetchall()[0][0]


def leftovers(lake: Lake) -> set[str]:
    """Data files of both tables of the log that are not current, and half log entries."""
    current = {path for name in (EVENTS.name, STREAM_MONTHS.name) for path in lake.files(name)}
    found = {str(path) for name in (EVENTS.name, STREAM_MONTHS.name) for path in (lake.root / name).rglob("part-*")}
    return found - current


def test_an_export_onto_a_full_disk(disk, store):
    """The lake's disk is full while the month is written: the old month stays, nothing is left over, space heals it."""
    lake = Lake(disk.folder / "lake")
    say(store, 10)
    export_month(store.dsn, lake, "2026-01")
    kept = leftovers(lake)
    say(store, 1_000, 2_000)
    disk.fill(leave=200_000)
    with pytest.raises(DiskFullError, match=f"no space left on the disk of {disk.folder}") as told:
        export_month(store.dsn, lake, "2026-01")
    assert "refold vacuum" in str(told.value)
    assert "REFOLD_LAKE" in str(told.value)
    assert count(Lake(lake.root)) == 10
    assert leftovers(Lake(lake.root)) == kept
    with pytest.raises(DiskFullError):
        export_month(store.dsn, lake, "2026-01")
    disk.empty()
    assert export_month(store.dsn, lake, "2026-01").rows == 1_010
    assert require_equal(store.dsn, Lake(lake.root), "2026-01") == 1_010


def test_an_export_whose_spill_has_no_room(disk, store, tmp_path, monkeypatch):
    """The folder that an export spills to is another, full disk: that one is named, and the lake is as it was."""
    lake = Lake(tmp_path / "lake")
    say(store, 10)
    export_month(store.dsn, lake, "2026-01")
    say(store, 1_000, 2_000)
    monkeypatch.setattr(Lake, "spill", disk.folder)
    disk.fill(leave=100_000)
    with pytest.raises(DiskFullError, match=f"no space left on the disk of {disk.folder}"):
        export_month(store.dsn, lake, "2026-01")
    assert count(Lake(lake.root)) == 10
    disk.empty()
    export_month(store.dsn, lake, "2026-01")
    assert require_equal(store.dsn, Lake(lake.root), "2026-01") == 1_010


def test_a_query_that_spills_onto_a_full_disk(disk, monkeypatch):
    """DuckDB says "out of memory" when its spill disk is full; the reader is told which disk, not to buy memory."""
    monkeypatch.setattr(Lake, "spill", disk.folder / ".spill")
    with (
        pytest.raises(DiskFullError, match=str(disk.folder)),
        Lake(disk.folder, memory_bytes=100_000_000).connect() as c,
    ):
        c.execute("CREATE TEMP TABLE t AS SELECT i, repeat('x', 100) || hash(i) AS s FROM range(2000000) r(i)")


@pytest.mark.parametrize("moment", ["commit", "_remember"])
def test_a_disk_that_is_full_when_it_is_time_to_commit(disk, store, monkeypatch, moment):
    """The data is written and there is no room for the log entry, or for its provenance: whole months only, and no lie."""
    lake = Lake(disk.folder / "lake")
    say(store, 10)
    export_month(store.dsn, lake, "2026-01")
    say(store, 10)
    owner = Table if moment == "commit" else Lake
    original = getattr(owner, moment)

    def full(self, *arguments, **options):
        disk.fill()
        return original(self, *arguments, **options)

    monkeypatch.setattr(owner, moment, full)
    with pytest.raises(DiskFullError, match=str(disk.folder)):
        export_month(store.dsn, lake, "2026-01")
    monkeypatch.undo()
    assert count(Lake(lake.root)) == (10 if moment == "commit" else 20)
    disk.empty()
    assert export_month(store.dsn, Lake(lake.root), "2026-01").rows == 20
    assert require_equal(store.dsn, Lake(lake.root), "2026-01") == 20
    vacuum(Lake(lake.root), lake.root.parent / "lake.duckdb", grace_days=0)
    assert leftovers(Lake(lake.root)) == set()
    assert require_equal(store.dsn, Lake(lake.root), "2026-01") == 20


def test_a_fold_onto_a_full_disk(disk, store, tmp_path):
    """What had been folded stays as it was; with space the fold is the one of a roomy disk."""
    lake, roomy = Lake(disk.folder / "lake"), Lake(tmp_path / "roomy")
    for _ in range(2):
        say(store, 400, 1_000)
        for each in (lake, roomy):
            export_month(store.dsn, each, "2026-01")
        fold_month(roomy, "2026-01", ["utterances"])
        if count(lake, "utterances") == 0:
            fold_month(lake, "2026-01", ["utterances"])
    disk.fill(leave=50_000)
    with pytest.raises(DiskFullError, match=str(disk.folder)):
        fold_month(lake, "2026-01", ["utterances"])
    assert count(Lake(lake.root), "utterances") == 400
    disk.empty()
    fold_month(lake, "2026-01", ["utterances"])
    rows = []
    for each in (lake, roomy):
        with each.connect() as connection:
            rows.append(connection.sql("SELECT * FROM utterances ORDER BY ALL").fetchall())
    assert len(rows[0]) == 800
    assert rows[0] == rows[1]


def test_a_catalog_onto_a_full_disk(disk):
    """The catalog that is there stays and opens; with space it is renewed; nothing half-written lies beside it."""
    lake, path = Lake(disk.folder / "lake"), disk.folder / "lake.duckdb"

    def write(month: str) -> None:
        with lake.connect() as connection:
            lake.write_partition(STREAM_MONTHS, {"month": month}, connection, ROWS, {"n": 3}, input_hash="h")

    def shown() -> int:
        with duckdb.connect(str(path), read_only=True) as reader:
            return reader.sql("SELECT count(*) FROM stream_months").fetchall()[0][0]

    write("2026-01")
    publish_catalog(lake, path)
    write("2026-02")
    disk.fill(leave=20_000)
    with pytest.raises(DiskFullError, match=str(disk.folder)):
        publish_catalog(lake, path)
    assert shown() == 3
    assert not list(disk.folder.glob(".lake.duckdb.*"))
    disk.empty()
    assert publish_catalog(lake, path)
    assert shown() == 6


def test_the_verb_ends_with_one_line(disk, store, monkeypatch, capsys):
    """`refold export` onto a full disk ends with 1 and says what to do, as text and as JSON; there is no traceback."""
    monkeypatch.setenv("REFOLD_HOME", str(disk.folder.parent / "home"))
    monkeypatch.setenv("REFOLD_LAKE", str(disk.folder / "lake"))
    monkeypatch.setenv("REFOLD_DSN", store.dsn)
    say(store, 1_000, 2_000)
    disk.fill(leave=200_000)
    assert run_verb(monkeypatch, "export", "--json") == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"] == "DiskFullError"
    assert printed.err.splitlines()[-1].startswith("refold: no space left on the disk of ")
    assert "Traceback" not in printed.err


def test_a_recorder_whose_spill_disk_is_full(disk):
    """What was told to be safe is sent, once, where there is no room to write that it was; what finds no room is told at once."""
    file = SpillFile.create(disk.folder)
    event = NewEvent("user.utterance.v1", {"text": "x" * 20_000}, {}, JANUARY)
    packets = [Packet(write_line(uuid4(), "conversation", [event]), number) for number in range(20)]
    file.append(packets[:10])
    disk.fill()
    with pytest.raises(OSError, match="full"):  # noqa: PT012 -- some may still find room
        for packet in packets[10:]:
            file.append([packet])
    kept = file.packets
    seen = []
    while found := file.read(3, 10**9):
        seen += [each.expected for each in found]
        file.forget(found)
    assert seen == list(range(kept))
    file.remove() if file.is_spent else disk.empty()
    file.close()
    orphan = SpillFile.adopt(disk.folder)
    assert orphan is None or orphan.packets == 0
