"""Exporters killed and servers stopped at random moments, while writers append: nothing is lost, nobody sees half a month.

`REFOLD_TEST_KILLS=50 REFOLD_TEST_EVENTS=300000 pytest -n 0 -s tests/integration/test_export_crash.py` is the long form. A failure
names the seed; `REFOLD_TEST_SEED=…` takes the same moments again, as far as the machine does.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import duckdb
import pytest
from deltalake import DeltaTable

from pipelines.export.month import export_month
from pipelines.lake.datasets import EVENTS, STREAM_MONTHS
from pipelines.lake.housekeeping import vacuum
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, NewEvent, Store, StoreUnavailable, connect
from pipelines.store.events import StreamBatch
from tests.integration.log_equality import require_equal
from tests.support.servers import crash, fresh_server
from tests.support.waiting import PATIENCE

KILLS = int(os.environ.get("REFOLD_TEST_KILLS", "2"))
EVENTS_AT_FIRST = int(os.environ.get("REFOLD_TEST_EVENTS", "6000"))
SEED = int(os.environ.get("REFOLD_TEST_SEED") or random.SystemRandom().randrange(2**32))
ROOT = Path(__file__).resolve().parents[2]
MONTH, AT = "2026-01", datetime(2026, 1, 5, tzinfo=UTC)
STREAM_EVENTS = 20
BATCH = 3
WRITERS = 2
LEFT, RIGHT = 10**6, 2 * 10**6
"""Writers append to a stream of each of these ranges in one transaction: no snapshot tells the two apart."""

# A month that any reader sees is what the store held at one moment: streams without gap from their first version on, all
# events of the first load, whole batches, and of the twins that were written together both or neither.
_FAULTS = f"""
WITH streams AS (
    SELECT
        ('0x' || right(aggregate_id, 12))::BIGINT AS number, count(*) AS events, count(DISTINCT stream_version) AS versions,
        min(stream_version) AS first_version, max(stream_version) AS last_version
    FROM read_parquet($files)
    GROUP BY aggregate_id
)
SELECT
    count(*) FILTER (WHERE first_version <> 1 OR last_version <> events OR versions <> events) AS gaps,
    count(*) FILTER (WHERE number < {LEFT} AND events <> {STREAM_EVENTS}) AS cut_off,
    count(*) FILTER (WHERE number >= {LEFT} AND events % {BATCH} <> 0) AS half_batches,
    coalesce(sum(CASE WHEN number >= {RIGHT} THEN -events WHEN number >= {LEFT} THEN events END), 0) AS half_transactions,
    $streams - count(*) FILTER (WHERE number < {LEFT}) AS missing_streams
FROM streams
"""


def stream(number: int) -> UUID:
    """A stream whose place in the order of keys tells nothing of when it was written."""
    return UUID(int=(random.Random(number).getrandbits(80) << 48) | number)


def said(count: int) -> list[NewEvent]:
    return [NewEvent("user.utterance.v1", {"text": f"text {n} " * 8}, {"actor": "user"}, AT) for n in range(count)]


class Readers:
    """Looks at every version of `events` that appears, as a reader would."""

    def __init__(self, lake: Path, streams: int) -> None:
        self.streams = streams
        self._folder = lake / EVENTS.name
        self.versions = 0

    def look(self) -> None:
        """Check the versions that are new since the last look."""
        if not (self._folder / "_delta_log").is_dir():
            return
        newest = DeltaTable(str(self._folder)).version()
        if self.versions > newest:
            return
        with duckdb.connect() as connection:
            connection.execute("SET threads = 1")
            while self.versions <= newest:
                files = DeltaTable(str(self._folder), version=self.versions).file_uris()
                if files:
                    params = {"files": files, "streams": self.streams}
                    (found,) = connection.sql(_FAULTS, params=params).fetchall()
                    assert found == (0,) * 5, f"version {self.versions} of {newest}: {found}"
                self.versions += 1


@contextmanager
def again_and_again(*tasks: Callable[[], None]) -> Iterator[None]:
    """Each task over and over in a thread of its own; what one raises is raised on leaving."""
    is_over, errors = threading.Event(), []

    def repeat(task: Callable[[], None]) -> None:
        try:
            while not is_over.is_set():
                task()
                is_over.wait(0.1)
        except BaseException as error:  # noqa: BLE001 - raised again on leaving
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def writer(dsn: str, number: int) -> Callable[[], None]:
    """Appends whole batches to two streams in one transaction, through every crash of the server."""
    rng = random.Random(SEED + number)

    def append() -> None:
        place = number + WRITERS * rng.randrange(40)
        with suppress(StoreUnavailable), connect(dsn) as conn:
            mine = Store(conn, dsn)
            for _ in range(20):
                with mine.transaction():
                    for side in (LEFT, RIGHT):
                        mine.append(stream(side + place), "conversation", said(BATCH), "any")
                time.sleep(rng.random() / 50)

    return append


def exporting(settings: Settings) -> subprocess.Popen[str]:
    """`refold export` in a process of its own, once it has begun with the month."""
    environment = {
        **os.environ,
        "REFOLD_HOME": str(settings.home),
        "REFOLD_DSN": str(settings.dsn),
        "REFOLD_LAKE": str(settings.lake),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "pipelines.cli", "export", "--month", MONTH]
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    for line in process.stderr:
        if line.startswith(MONTH):
            break
    return process


def full_export(settings: Settings) -> float:
    """Let an export end; answers the seconds that it took once it had begun."""
    process, begun = exporting(settings), time.monotonic()
    said_last = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, said_last
    return time.monotonic() - begun


def kill_one(server: EmbeddedServer, settings: Settings, *, is_server: bool, after: float) -> bool:
    """Kill an exporter, or the server under it, so many seconds after it has begun; answers whether it had ended before."""
    process = exporting(settings)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=after)
    has_ended = process.poll() is not None
    if is_server:
        crash(server, is_durable=False)
        if not has_ended:
            said_last = process.communicate(timeout=PATIENCE)[1]
            assert "Traceback" not in said_last, said_last
    else:
        process.kill()
        process.communicate(timeout=PATIENCE)
    return has_ended


def load(dsn: str) -> int:
    """The history that is there before anybody is killed; answers its streams."""
    streams = EVENTS_AT_FIRST // STREAM_EVENTS
    with connect(dsn) as conn:
        store = Store(conn, dsn)
        store.migrate()
        store.ensure_months([AT])
        for first in range(0, streams, 500):
            numbers = range(first, min(first + 500, streams))
            store.append_many(StreamBatch(stream(n), "conversation", said(STREAM_EVENTS), "no_stream") for n in numbers)
            if first == 0:
                conn.execute("ANALYZE refold.events, refold.streams")  # lest plans made for empty tables are kept
        conn.execute("VACUUM ANALYZE refold.events")
    return streams


@pytest.fixture
def killable(postgres_tools: Path | None) -> Iterator[EmbeddedServer]:
    """A server that the test may stop."""
    with fresh_server(postgres_tools) as server:
        yield server


def test_kills_at_random_moments(killable: EmbeddedServer, tmp_path: Path) -> None:
    """After each kill of an exporter or its server, one more run makes the lake equal to the store.

    Meanwhile writers append, vacuums run, and readers look at every version: none shows half a month. In the end a vacuum
    leaves the current files and nothing else.
    """
    rng = random.Random(SEED)
    settings = Settings(home=tmp_path / "home", dsn=killable.dsn, lake=tmp_path / "lake")
    readers, lake = Readers(settings.lake, load(killable.dsn)), Lake(settings.lake)
    told: Counter[str] = Counter()
    started = time.monotonic()
    try:
        longest = full_export(settings)
        rows = require_equal(killable.dsn, lake, MONTH)
        for kill in range(KILLS):
            if kill % 4 < 2:  # a first export of everything; else what is new is added to a month that is there
                shutil.rmtree(settings.lake)
                readers, lake = Readers(settings.lake, readers.streams), Lake(settings.lake)
            sweep = partial(vacuum, Lake(settings.lake), settings.catalog, grace_days=7)
            with again_and_again(*(writer(killable.dsn, n) for n in range(WRITERS)), readers.look, sweep):
                told["the export had ended"] += kill_one(
                    killable, settings, is_server=kill % 2 == 1, after=rng.uniform(0, longest)
                )
            told["server" if kill % 2 else "exporter"] += 1
            export_month(killable.dsn, lake, MONTH)
            rows = require_equal(killable.dsn, Lake(settings.lake), MONTH)
            readers.look()
            told["versions read"] += readers.versions
            print(f"{kill + 1} kills: {dict(told)}, {rows:,} events, {time.monotonic() - started:.0f} s", flush=True)
        full_export(settings)
        assert require_equal(killable.dsn, Lake(settings.lake), MONTH) == rows
        vacuum(Lake(settings.lake), settings.catalog, grace_days=0)
        require_only_current_files(Lake(settings.lake))
        assert require_equal(killable.dsn, Lake(settings.lake), MONTH) == rows
    except BaseException as error:
        error.add_note(
            f"REFOLD_TEST_SEED={SEED} REFOLD_TEST_KILLS={KILLS} REFOLD_TEST_EVENTS={EVENTS_AT_FIRST}; so far {told}"
        )
        raise
    print(f"longest export {longest:.1f} s, seed {SEED}")


def require_only_current_files(lake: Lake) -> None:
    """Nothing of dead exporters is left, whatever they were doing."""
    for name in (EVENTS.name, STREAM_MONTHS.name, "commits"):
        on_disk = {str(path) for path in (lake.root / name).rglob("part-*")}
        assert on_disk == set(lake.files(name)), name
        assert [
            path.name for path in (lake.root / name / "_delta_log").iterdir() if path.name.startswith("_commit")
        ] == []
    for folder in (lake.spill, lake.root / ".writers"):
        assert not folder.exists() or list(folder.iterdir()) == []
