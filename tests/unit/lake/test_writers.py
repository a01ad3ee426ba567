"""Writers are seen while they live, and the catalog shows the newest lake whoever published last."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import duckdb
import pytest

from pipelines.duck import scratch
from pipelines.lake import catalog
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.datasets import STREAM_MONTHS
from pipelines.lake.errors import CommitLostError, DiskFullError, told_when_full
from pipelines.lake.lake import Lake
from pipelines.lake.writers import oldest_writer, publishing, writing
from tests.support.waiting import PATIENCE

WRITER = """
import sys, time
from pathlib import Path
from pipelines.lake.writers import writing
with writing(Path(sys.argv[1])):
    print("writing", flush=True)
    time.sleep(600)
"""
ROWS = "SELECT 's' || i AS aggregate_id, 'call' AS aggregate_type, 1 AS first_version, 1 AS last_version, 1 AS event_count, 0 AS erased_events, NULL AS prev_hash, NULL AS last_hash FROM range($n) r(i)"


def write(lake: Lake, month: str, n: int):
    with scratch() as connection:
        return lake.write_partition(STREAM_MONTHS, {"month": month}, connection, ROWS, {"n": n}, input_hash="h")


def test_a_writer_is_seen_until_it_ends_however_it_ends(tmp_path):
    """Of several writers the oldest counts; one that was killed counts no more, and its file is gone."""
    assert oldest_writer(tmp_path) is None
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        began = oldest_writer(tmp_path)
        assert began == pytest.approx(time.time(), abs=60)
        with writing(tmp_path):
            assert oldest_writer(tmp_path) == began
        process.send_signal(signal.SIGKILL)
    assert oldest_writer(tmp_path) is None
    assert list((tmp_path / ".writers").iterdir()) == []


def test_writers_are_seen_however_often_somebody_looks(tmp_path):
    """A writer that is taken for dead between making its file and locking it makes it anew: none is overlooked."""
    is_over = threading.Event()

    def look():
        while not is_over.is_set():
            oldest_writer(tmp_path)

    watchers = [threading.Thread(target=look) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    try:
        seen = []
        for _ in range(500):
            with writing(tmp_path):
                seen.append(oldest_writer(tmp_path))
    finally:
        is_over.set()
        for watcher in watchers:
            watcher.join()
    assert None not in seen


def test_the_catalog_is_written_when_the_lake_changed(tmp_path, monkeypatch):
    """The same lake is not published twice; a change is, by what names the files alone, and a file that is no catalog."""
    lake, path = Lake(tmp_path / "lake"), tmp_path / "lake.duckdb"
    write_file, scripts = catalog._write, []
    monkeypatch.setattr(catalog, "_write", lambda file, given: scripts.append(given) or write_file(file, given))
    write(lake, "2026-01", 3)
    assert [publish_catalog(lake, path), publish_catalog(Lake(lake.root), path)] == [True, False]
    scripts.clear()
    write(lake, "2026-01", 4)
    assert [publish_catalog(lake, path), publish_catalog(lake, path)] == [True, False]
    (written,) = scripts
    renewed = ('"stream_months_files"', '"commits_files"', "refold_catalog_hash")
    assert [each.split("(")[0] for each in written] == [f"CREATE OR REPLACE MACRO {name}" for name in renewed]
    path.write_bytes(b"no catalog")
    assert publish_catalog(lake, path)
    with duckdb.connect(str(path), read_only=True) as reader:
        assert reader.sql("SELECT count(*) FROM stream_months").fetchall() == [(4,)]


def test_an_older_catalog_never_replaces_a_newer_one(tmp_path, monkeypatch):
    """A publisher that is slow holds the next one up, so that the last to publish is the last to have looked."""
    lake, path = Lake(tmp_path / "lake"), tmp_path / "lake.duckdb"
    write(lake, "2026-01", 1)
    looked, go_on = threading.Event(), threading.Event()
    write_file = catalog._write

    def slowly(*arguments):
        looked.set()
        assert go_on.wait(PATIENCE)
        write_file(*arguments)

    monkeypatch.setattr(catalog, "_write", slowly)
    first = threading.Thread(target=publish_catalog, args=(Lake(lake.root), path))
    first.start()
    assert looked.wait(PATIENCE)
    write(lake, "2026-01", 2)
    second = threading.Thread(target=publish_catalog, args=(lake, path))
    second.start()
    time.sleep(0.2)  # time for the second to overtake, were it let
    go_on.set()
    first.join()
    second.join()
    with duckdb.connect(str(path), read_only=True) as reader:
        assert reader.sql("SELECT count(*) FROM stream_months").fetchall() == [(2,)]
    with publishing(lake.root):
        pass  # nobody holds it any more


def test_a_full_disk_has_one_name(tmp_path):
    """However a library says it, a full disk is a `DiskFullError` that names the place; other errors stay what they are."""
    for error, place in (
        (OSError(28, "No space left on device"), tmp_path),
        (duckdb.IOException('Could not write file "/data/x.parquet": No space left on device'), "/data/x.parquet"),
        (duckdb.OutOfMemoryException("failed to offload data: 'max_temp_directory_size'"), tmp_path),
        (OSError("Generic LocalFileSystem error: No space left on device (os error 28)"), tmp_path),
    ):
        with pytest.raises(DiskFullError, match=str(place)) as told, told_when_full(tmp_path):
            raise error
        assert told.value.__cause__ is error
    with pytest.raises(CommitLostError), told_when_full(tmp_path):
        raise CommitLostError("events", "No space left on device", 1)
    with pytest.raises(duckdb.OutOfMemoryException), told_when_full(tmp_path):
        raise duckdb.OutOfMemoryException("could not allocate block")
