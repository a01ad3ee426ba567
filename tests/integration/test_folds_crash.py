"""A month with the state of one long conversation, which is written to a file of its own: killed while it is written, and gone on with.

`REFOLD_TEST_KILLS=20 REFOLD_TEST_LARGE_SHARE=0.03 pytest -n 0 tests/integration/test_folds_crash.py` is the long form: as many moments, and
a row that is large by the usual share of the memory.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.folds import run
from pipelines.folds.run import fold_month
from pipelines.folds.shipped import FOLDS
from pipelines.lake import partition
from pipelines.lake.housekeeping import vacuum
from pipelines.lake.lake import Lake
from pipelines.store.events import NewEvent, stream_id
from tests.support.folding_child import POINTS, SNAPSHOT_EVENTS, TABLE
from tests.support.history import write_log
from tests.support.lake_rows import content

KILLS = int(os.environ.get("REFOLD_TEST_KILLS", "1"))
SHARE = float(os.environ.get("REFOLD_TEST_LARGE_SHARE", "0.001"))
ROOT = Path(__file__).resolve().parents[2]
MONTH = "2026-02"
START = datetime(2026, 2, 1, tzinfo=UTC)
MEMORY = 600 * 10**6
STREAMS = sorted(str(stream_id("desk/crash", str(number))) for number in range(40))
LONG = STREAMS[17]
LONG_EVENTS, EVENTS = 1_200, 36
TEXT_BYTES = int(2 * SHARE * MEMORY / LONG_EVENTS * 1.3)
MORE = 7
"""Events by which streams go on: the last two are a call and its answer."""
LIMIT = 300.0
GOES_ON = {
    "others": {STREAMS[0], STREAMS[16], STREAMS[18], STREAMS[39]},
    "both": {LONG, STREAMS[16], STREAMS[18]},
    "an answer": {LONG},
}


def talk(stream: str, count: int) -> list[NewEvent]:
    """Events of a stream: somebody asks, a tool is called and answers, the agent answers; the long one says much."""
    draw = random.Random(stream)
    made = []
    for number in range(count):
        text = draw.randbytes(TEXT_BYTES // 2).hex() if stream == LONG else f"{stream[:4]} said {number}"
        kind, payload = [
            ("user.utterance.v1", {"text": text}),
            ("tool.call.v1", {"call_id": f"c{number}", "name": "find", "arguments": {"n": number}}),
            ("tool.result.v1", {"call_id": f"c{number - 1}", "output": number, "error": None}),
            ("agent.utterance.v1", {"text": text}),
        ][number % 4]
        made.append(NewEvent(kind, payload, {"message_id": f"m{number}"}, START + timedelta(minutes=number)))
    return made


def lake_of(root: Path, *going_on: str, without: int = 0) -> Lake:
    """A lake that holds the log; streams that go on have a few events more at its end, or as many less of these."""
    talks = {stream: talk(stream, (LONG_EVENTS if stream == LONG else EVENTS) + MORE) for stream in STREAMS}
    history = [(stream, "conversation", events[:-MORE]) for stream, events in talks.items()]
    history += [(stream, "conversation", talks[stream][-MORE:][: MORE - without]) for stream in sorted(going_on)]
    write_log(root, history)
    return Lake(root, memory_bytes=MEMORY, snapshot_events=SNAPSHOT_EVENTS)


@pytest.fixture(autouse=True)
def _large_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "LARGE_SHARE", SHARE)


def rows_in_files(lake: Lake) -> list[list[int]]:
    """Rows of the row groups of each file of the states."""
    found = [pq.read_metadata(path) for path in lake.files(TABLE, {"month": MONTH})]
    return [[file.row_group(number).num_rows for number in range(file.num_row_groups)] for file in found]


def tables(lake: Lake) -> dict[str, tuple[int, str]]:
    """Every table's rows, as they lie in it."""
    return {name: content(lake, name) for name in FOLDS}


def folding(lake: Lake, *point: str) -> subprocess.Popen[bytes]:
    """A fold in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.support.folding_child",
        str(lake.root),
        str(lake.memory_bytes),
        str(SHARE),
        MONTH,
        *point,
    ]
    return subprocess.Popen(command, cwd=ROOT)


def kill_at_bytes(process: subprocess.Popen[bytes], folder: Path, most: float) -> None:
    """Kill it when the newest file in the folder has so many bytes; only files that are not there yet count."""
    there = set(folder.rglob("part-*"))
    deadline = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        if any(path.stat().st_size >= most for path in set(folder.rglob("part-*")) - there):
            process.kill()


def require_whole(lake: Lake, expected: dict[str, tuple[int, str]], before: dict[str, tuple[int, str]]) -> None:
    """After a kill every table is as it was or as it will be; another fold ends it, and nothing else is left after a vacuum."""
    now = tables(lake)
    assert all(now[name] in (before[name], expected[name]) for name in FOLDS)
    fold_month(lake, MONTH)
    assert tables(lake) == expected
    vacuum(lake, lake.root.parent / "lake.duckdb", grace_days=0)
    for name in FOLDS:
        on_disk = {str(path) for path in (lake.root / name).rglob("part-*")}
        assert on_disk == set(lake.files(name)), name
    assert tables(lake) == expected


def copy(lake: Lake, root: Path) -> Lake:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(lake.root, root)
    return Lake(root, memory_bytes=MEMORY, snapshot_events=SNAPSHOT_EVENTS)


@pytest.mark.parametrize("goes_on", [(), (LONG, STREAMS[18])], ids=["first", "again"])
def test_kills_while_a_large_row_is_written(goes_on: tuple[str, ...], tmp_path: Path) -> None:
    """`kill -9` at several points of the large row's own file, and anywhere in it: a fold afterwards makes what a fold makes."""
    lake = lake_of(tmp_path / "lake")
    whole = copy(lake, tmp_path / "whole")
    if goes_on:
        fold_month(lake, MONTH)
        lake_of(lake.root, *goes_on)
        whole = lake_of(tmp_path / "whole", *goes_on)
    before = tables(lake)
    fold_month(whole, MONTH)
    expected = tables(whole)
    largest = max(Path(path).stat().st_size for path in whole.files(TABLE))
    assert largest > SHARE * MEMORY / 2
    draw = random.Random(0)
    points = POINTS if KILLS > 1 else POINTS[bool(goes_on) :: 2]
    for point in [*points, *(draw.uniform(1, 0.9 * largest) for _ in range(KILLS))]:
        killed = copy(lake, tmp_path / "killed")
        if isinstance(point, str):
            process = folding(killed, point)
            process.wait(LIMIT)
        else:
            process = folding(killed)
            kill_at_bytes(process, killed.root / TABLE, point)
        assert process.wait(LIMIT) == -signal.SIGKILL, point
        require_whole(killed, expected, before)


@pytest.mark.parametrize("going_on", GOES_ON.values(), ids=GOES_ON)
def test_a_month_with_a_large_row_goes_on(
    going_on: set[str], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New events of the long stream, of its neighbours or of both: the same rows as from scratch, and the large one still by itself."""
    without = 1 if "answer" in request.node.callspec.id else MORE
    lake = lake_of(tmp_path / "lake", *going_on, without=without)
    fold_month(lake, MONTH)
    assert [1] in rows_in_files(lake)
    merged: set[str] = set()
    at_a_time, under_way = [0], 0
    merge = run.merge

    def spy(writer, files, streams, folded):  # type: ignore[no-untyped-def]
        nonlocal under_way
        merged.update(streams["aggregate_id"].to_pylist())
        under_way += 1
        at_a_time.append(under_way)
        merge(writer, files, streams, folded)
        under_way -= 1

    monkeypatch.setattr(run, "merge", spy)
    monkeypatch.setattr(run, "_MERGED_SHARE", SHARE)
    fold_month(lake_of(lake.root, *going_on), MONTH)
    assert merged == going_on
    assert max(at_a_time) == 1
    scratch = lake_of(tmp_path / "scratch", *going_on)
    fold_month(scratch, MONTH)
    assert tables(lake) == tables(scratch)
    assert rows_in_files(lake) == rows_in_files(scratch)
