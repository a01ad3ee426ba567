"""Vacuum removes what nobody needs, keeps what somebody may still need, and never touches what is current."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from pipelines.duck import scratch
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.datasets import STREAM_MONTHS, UTTERANCES
from pipelines.lake.delta import CHECKPOINT_COMMITS
from pipelines.lake.errors import CommitLostError, MissingFileError
from pipelines.lake.housekeeping import CLOCK_SECONDS, remove_redacted, vacuum
from pipelines.lake.lake import Lake
from pipelines.lake.writers import writing
from tests.support.history import query

ROWS = "SELECT 's' || i AS aggregate_id, 'call' AS aggregate_type, 1 AS first_version, i AS last_version, 1 AS event_count, 0 AS erased_events, NULL AS prev_hash, NULL AS last_hash FROM range($n) r(i)"
SPILL = """
import os, sys, duckdb
from pathlib import Path
from pipelines.lake.lake import Lake
with Lake(Path(sys.argv[1]), memory_bytes=100_000_000).connect() as connection:
    connection.execute("CREATE TEMP TABLE t AS SELECT i, repeat('x', 100) || hash(i) AS s FROM range(2000000) r(i)")
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""
DAY = 86_400


def write(lake: Lake, month: str, n: int):
    with scratch() as connection:
        return lake.write_partition(STREAM_MONTHS, {"month": month}, connection, ROWS, {"n": n}, input_hash="h")


def count(lake: Lake) -> dict[str, int]:
    return dict(query(lake, "SELECT month, count(*) FROM stream_months GROUP BY 1"))


def sweep(lake: Lake, grace_days: float = 7.0, *, is_dry_run: bool = False):
    return vacuum(lake, lake.root.parent / "lake.duckdb", grace_days=grace_days, is_dry_run=is_dry_run)


def swept(result) -> dict[tuple[str, str], int]:
    return {(each.dataset, each.reason): each.files for each in result.swept}


def parquet(lake: Lake, name: str = "stream_months") -> set[str]:
    return {path.name for path in (lake.root / name).rglob("*.parquet") if path.parent.name != "_delta_log"}


def plant(lake: Lake, name: str = "part-dead.parquet", age: float = 0.0, month: str = "2026-01") -> Path:
    path = lake.table("stream_months").path / f"month={month}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half a file")
    os.utime(path, (time.time() - age,) * 2)
    return path


def replaced_days_ago(lake: Lake, days: float) -> None:
    """Let the newest commit of `stream_months` have happened `days` ago, in its log and in its provenance."""
    log = max((lake.table("stream_months").path / "_delta_log").glob("*.json"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "remove" in line:
            line["remove"]["deletionTimestamp"] -= int(days * DAY * 1000)
    log.write_text("\n".join(map(json.dumps, lines)))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_superseded_files_stay_for_the_grace(lake):
    """A reader that opened before a commit reads what it opened until the grace is over; then the file goes."""
    write(lake, "2026-01", 5)
    catalog = lake.root.parent / "lake.duckdb"
    publish_catalog(lake, catalog)
    with duckdb.connect(str(catalog), read_only=True) as reader, lake.connect() as connection:
        write(lake, "2026-01", 6)
        kept = sweep(lake)
        assert (kept.files, kept.kept_files) == (0, 1)
        for opened in (reader, connection):
            assert opened.sql("SELECT count(*) FROM stream_months").fetchall() == [(5,)]
    lake = Lake(lake.root)
    replaced_days_ago(lake, 6.9)
    assert sweep(lake).files == 0
    replaced_days_ago(Lake(lake.root), 0.2)
    result = sweep(Lake(lake.root))
    assert swept(result) == {("stream_months", "superseded"): 1}
    assert result.kept_files == 0
    assert count(Lake(lake.root)) == {"2026-01": 6}
    with duckdb.connect(str(catalog), read_only=True) as reader:
        assert reader.sql("SELECT count(*) FROM stream_months").fetchall() == [(6,)]


def test_without_grace_only_what_is_current_stays(lake):
    """With REFOLD_GRACE=0 every replaced file goes, and the bytes told are the bytes freed; again, nothing is done."""
    for n in (3, 4, 5):
        write(lake, "2026-01", n)
    write(lake, "2026-02", 7)
    before = sum(path.stat().st_size for path in (lake.root / "stream_months").rglob("part-*"))
    result = sweep(lake, 0)
    after = sum(path.stat().st_size for path in (lake.root / "stream_months").rglob("part-*"))
    assert swept(result) == {("stream_months", "superseded"): 2}
    assert result.size_bytes == before - after
    assert parquet(lake) == {Path(file).name for file in lake.files("stream_months")}
    assert count(lake) == {"2026-01": 5, "2026-02": 7}
    state = {path: path.stat().st_mtime_ns for path in lake.root.parent.rglob("*") if path.name != ".catalog.lock"}
    again = sweep(Lake(lake.root), 0)
    assert (again.files, again.swept) == (0, [])
    assert state == {path: path.stat().st_mtime_ns for path in state}


def test_a_dry_run_touches_nothing(lake):
    """It names what a run would remove, and does not even renew the catalog."""
    write(lake, "2026-01", 3)
    write(lake, "2026-01", 4)
    plant(lake)
    state = {path: path.stat().st_mtime_ns for path in lake.root.parent.rglob("*")}
    told = sweep(lake, 0, is_dry_run=True)
    assert state == {path: path.stat().st_mtime_ns for path in lake.root.parent.rglob("*")}
    done = sweep(lake, 0)
    assert swept(told) == swept(done) == {("stream_months", "superseded"): 1, ("stream_months", "orphan"): 1}
    assert (told.files, told.size_bytes) == (done.files, done.size_bytes)


def test_an_empty_home_has_nothing_to_remove(lake):
    """Where there is no lake, none is made."""
    assert sweep(lake).files == 0
    assert not lake.root.exists()


def test_orphans_go_as_soon_as_no_writer_can_own_them(lake):
    """A file that no commit names stays while a writer lives that may have made it, and goes when there is none."""
    write(lake, "2026-01", 3)
    old, young = plant(lake, "part-old.parquet", CLOCK_SECONDS + 60), plant(lake, "part-young.parquet")
    unseen_month = plant(lake, "part-other.parquet", month="2031-07")
    with writing(lake.root):
        assert swept(sweep(lake)) == {("stream_months", "orphan"): 1}
        assert (old.exists(), young.exists(), unseen_month.exists()) == (False, True, True)
    assert swept(sweep(lake)) == {("stream_months", "orphan"): 2}
    assert parquet(lake) == {Path(file).name for file in lake.files("stream_months")}


def test_a_staged_file_survives_a_vacuum_before_its_commit(lake):
    """Between writing and committing housekeeping leaves the writer's file alone."""
    write(lake, "2026-01", 3)
    before = len(parquet(lake))
    with scratch() as connection, lake.replacing(STREAM_MONTHS, {"month": "2026-02"}) as writer:
        writer.write_query(connection, ROWS, {"n": 9})
        assert sweep(Lake(lake.root), 0).files == 0
        assert len(parquet(lake)) == before
        writer._flush(9)
        assert len(parquet(lake)) == before + 1
        assert sweep(Lake(lake.root), 0).files == 0
        assert len(parquet(lake)) == before + 1
        writer.commit(input_hash="h")
    assert count(Lake(lake.root)) == {"2026-01": 3, "2026-02": 9}


def test_vacuums_without_grace_disturb_no_writer(lake):
    """While writers of three months commit again and again, vacuums run without grace: every commit holds, all is left right."""
    is_over, last = threading.Event(), {}

    def keep_writing(month: str) -> None:
        mine = Lake(lake.root)
        for n in range(1, 7):
            last[month] = write(mine, month, n).row_count

    def keep_sweeping() -> None:
        mine = Lake(lake.root)
        while not is_over.is_set():
            sweep(mine, 0)

    with ThreadPoolExecutor(4) as pool:
        sweeper = pool.submit(keep_sweeping)
        writers = [pool.submit(keep_writing, f"2026-0{month}") for month in (1, 2, 3)]
        try:
            for writer in writers:
                writer.result()
        finally:
            is_over.set()
        sweeper.result()
    assert last == count(Lake(lake.root)) == {"2026-01": 6, "2026-02": 6, "2026-03": 6}
    sweep(Lake(lake.root), 0)
    assert parquet(lake) == {Path(file).name for file in lake.files("stream_months")}


def test_a_file_that_goes_between_being_listed_and_opened(lake, monkeypatch):
    """Who opens the lake just when a replaced file is removed gets the files that are there now; real loss is an error."""
    write(lake, "2026-01", 3)
    listed = Lake.view_statements
    moments = iter([True, False])

    def list_late(self, wanted):
        statements = listed(self, wanted)
        if next(moments, False):
            write(Lake(lake.root), "2026-01", 4)
            Path(lake.root, old).unlink()
        return statements

    old = Path(lake.files("stream_months")[0]).relative_to(lake.root)
    reader = Lake(lake.root)
    monkeypatch.setattr(reader, "view_statements", list_late.__get__(reader))
    with reader.connect() as connection:
        assert connection.sql("SELECT count(*) FROM stream_months").fetchall() == [(4,)]
    Path(lake.files("stream_months")[0]).unlink()
    with pytest.raises(duckdb.IOException, match="No files found"), Lake(lake.root).connect():
        pass


def test_what_a_redaction_hides_goes_at_once(lake):
    """Files older than the newest redaction of their partition go without grace; partitions without one keep theirs."""

    def say(month: str, text: str, redactions: int, erased: int = 0) -> None:
        nulls = ", ".join(
            f'NULL AS "{c.name}"' for c in UTTERANCES.data_columns if c.name not in ("aggregate_id", "text")
        )
        with scratch() as connection:
            lake.write_partition(
                UTTERANCES,
                {"month": month},
                connection,
                f"SELECT 's' AS aggregate_id, $text AS text, {nulls}",
                {"text": text},
                input_hash=text,
                provenance={"redactions": redactions, "erased": erased},
            )

    for month in ("2026-01", "2026-02"):
        say(month, "Grace Hopper", 0)
        say(month, "Grace Hopper!", 0)
    say("2026-01", "[redacted]", 1)
    catalog = lake.root.parent / "lake.duckdb"
    assert remove_redacted(lake, catalog, ["utterances"]) == 2
    left = b"".join(path.read_bytes() for path in (lake.root / "utterances" / "month=2026-01").iterdir())
    assert b"Grace" not in left
    assert len(parquet(lake, "utterances")) == 3
    say("2026-02", "[redacted]", 2)  # killed before it could remove: the next vacuum does
    assert swept(sweep(Lake(lake.root), 7)) == {("utterances", "redacted"): 2}
    say("2026-02", "[redacted] again", 2)
    assert sweep(lake).kept_files == 1
    say("2026-02", "", 0, erased=1)  # what was redacted twice is erased: less is redacted, and more is gone
    assert swept(sweep(Lake(lake.root), 7))["utterances", "redacted"] == 2
    with duckdb.connect(str(catalog), read_only=True) as reader:
        assert reader.sql("SELECT count(*) FROM utterances").fetchall() == [(2,)]


def test_a_long_log_gets_a_checkpoint_and_loses_old_entries(lake):
    """After many commits a table opens from a checkpoint, with the same rows, and still knows its commits' numbers."""
    for n in range(CHECKPOINT_COMMITS):
        write(lake, "2026-01", n)
    log = lake.table("stream_months").path / "_delta_log"
    assert len(list(log.glob("*.checkpoint.parquet"))) == 1
    for path in log.glob("*.json"):
        os.utime(path, (time.time() - 40 * DAY,) * 2)
    result = sweep(Lake(lake.root))
    assert swept(result)["stream_months", "log"] >= CHECKPOINT_COMMITS - 1
    fresh = Lake(lake.root)
    assert count(fresh) == {"2026-01": CHECKPOINT_COMMITS - 1}
    assert fresh.table("stream_months").number({"month": "2026-01"}) == CHECKPOINT_COMMITS
    with pytest.raises(CommitLostError):
        fresh.table("stream_months").commit([], {"month": "2026-01"}, CHECKPOINT_COMMITS)
    assert result.kept_files == CHECKPOINT_COMMITS - 2  # all but the empty first and the current: within the grace


def test_a_grace_longer_than_the_logs_memory_is_kept(lake):
    """A checkpoint forgets what was replaced more than a week ago; provenance still knows, so a longer grace holds."""
    write(lake, "2026-01", 3)
    write(lake, "2026-01", 4)
    replaced_days_ago(lake, 10)
    fresh = Lake(lake.root)
    fresh.table("stream_months").load().create_checkpoint()
    for path in (fresh.table("stream_months").path / "_delta_log").glob("*.json"):
        path.unlink()
    assert Lake(lake.root).table("stream_months").load().vacuum(0, enforce_retention_duration=False) == []
    kept = sweep(Lake(lake.root), 30)
    assert (kept.files, kept.kept_files) == (0, 1)
    assert swept(sweep(Lake(lake.root), 0)) == {("stream_months", "superseded"): 1}


def test_a_damaged_table_loses_nothing_more(lake):
    """A missing file stops the vacuum; a file whose commit was taken out of the log is evidence, and stays."""
    write(lake, "2026-01", 3)
    write(lake, "2026-02", 4)
    plant(lake)
    lost = Path(lake.files("stream_months")[0])
    hidden = lost.rename(lost.with_name("hidden"))
    with pytest.raises(MissingFileError, match="stream_months: 1 of its current files are not there") as told:
        sweep(Lake(lake.root), 0)
    assert told.value.missing == [str(lost)]
    assert parquet(lake) >= {"part-dead.parquet"}
    hidden.rename(lost)
    entry = max((lake.table("stream_months").path / "_delta_log").glob("*.json"))
    entry.unlink()
    result = sweep(Lake(lake.root), 0)
    assert swept(result) == {("stream_months", "orphan"): 1}
    assert len(parquet(lake)) == 2


def test_what_killed_processes_left_beside_the_tables_goes(lake):
    """Half log entries, half catalogs and spilled data of the dead are removed; those of the living are not."""
    write(lake, "2026-01", 3)
    log = lake.table("stream_months").path / "_delta_log"
    halves = [log / "_commit_0f.json.tmp", log / "00000000000000000001.json#1", lake.root.parent / ".lake.duckdb.0f"]
    for path in halves:
        path.write_bytes(b"{")
    command = [sys.executable, "-c", SPILL, str(lake.root)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as dead,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living,
    ):
        pids = [int(process.stdout.readline()) for process in (dead, living)]
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        left = Counter(path.name.split("_")[2] for path in (lake.root / ".spill").iterdir())
        assert min(left[str(pid)] for pid in pids) > 1
        with writing(lake.root):
            assert swept(sweep(lake)) == {("", "temporary"): left[str(pids[0])]}
            assert all(path.exists() for path in halves)
        result = sweep(lake)
        assert swept(result) == {("", "temporary"): 1, ("stream_months", "temporary"): 2}
        assert not any(path.exists() for path in halves)
        assert {path.name.split("_")[2] for path in (lake.root / ".spill").iterdir()} == {str(pids[1])}
        living.stdin.close()
    assert not list((lake.root / ".spill").glob("*"))


def test_what_a_killed_process_had_given_to_a_users_code_goes(lake):
    """Texts handed to a projection stay in no folder of the dead, and in those of the living as long as they live."""
    write(lake, "2026-01", 3)
    with subprocess.Popen(["sleep", "0"]) as dead:
        dead.wait()
    for pid in (dead.pid, os.getpid()):
        folder = lake.spill / f"locked-{pid}-x" / "stored"
        folder.mkdir(parents=True)
        (folder / "events.parquet").write_bytes(b"text")
    assert swept(sweep(lake)) == {("", "temporary"): 1}
    assert [path.name for path in lake.spill.iterdir()] == [f"locked-{os.getpid()}-x"]
    assert (lake.spill / f"locked-{os.getpid()}-x" / "stored" / "events.parquet").exists()


def test_files_that_are_not_the_lakes_are_left_alone(lake):
    """Nothing is removed by its place alone: what others put beside the tables' files stays."""
    write(lake, "2026-01", 3)
    notes = [
        lake.root / "notes.txt",
        lake.table("stream_months").path / "README.md",
        lake.root / "mine" / "part-1.parquet",
    ]
    for path in notes:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        os.utime(path, ((datetime.now(UTC) - timedelta(days=400)).timestamp(),) * 2)
    assert sweep(lake, 0).files == 0
    assert all(path.exists() for path in notes)
