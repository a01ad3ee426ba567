"""Exporters at the same time, with handles that are out of date, and writers that commit late: the table is right."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pytest
from deltalake import DeltaTable

from pipelines.export.month import export_month
from pipelines.lake.datasets import COMMITS, EVENTS
from pipelines.lake.errors import CommitLostError
from pipelines.lake.lake import Lake
from pipelines.store import NewEvent, Store, StoreUnavailable, connect
from tests.integration.log_equality import require_equal
from tests.support.waiting import PATIENCE

JANUARY, FEBRUARY = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 2, 5, tzinfo=UTC)


def say(store: Store, at: datetime, texts: int, stream=None) -> None:
    store.ensure_months([at])
    events = [NewEvent("user.utterance.v1", {"text": f"text {n}"}, {"actor": "user"}, at) for n in range(texts)]
    store.append(stream or uuid4(), "conversation", events, "any")


def outcome(attempt, *arguments):
    """What an export came to: its result, or that another one was first."""
    try:
        return attempt(*arguments)
    except CommitLostError as lost:
        return lost


@pytest.fixture
def together(monkeypatch):
    """Hold the first commits of two exporters until both have staged their files and loaded the same version."""
    barrier = threading.Barrier(2)
    met = threading.local()
    commit = DeltaTable.create_write_transaction

    def held(self, *arguments, **options):
        if EVENTS.name in self.table_uri and not hasattr(met, "once"):
            met.once = True
            barrier.wait(PATIENCE)
        return commit(self, *arguments, **options)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", held)


def test_two_exporters_of_one_month_that_saw_the_same_version(store, settings, together):
    """Both have loaded version n and staged: one commits, the other is told so and no commit names its files; the next has it all."""
    for _ in range(3):
        say(store, JANUARY, 20)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(outcome, export_month, store.dsn, Lake(settings.lake), "2026-01") for _ in range(2)]
        outcomes = [each.result() for each in running]
    lost = [each for each in outcomes if isinstance(each, CommitLostError)]
    assert len(lost) == 1
    assert "run the command again" in str(lost[0])
    lake = Lake(settings.lake)
    assert lake.table(EVENTS.name).number({"month": "2026-01"}) == 1
    on_disk = {str(path) for path in (settings.lake / "events").rglob("part-*.parquet")}
    assert on_disk > set(lake.files(EVENTS.name))  # `vacuum` removes the loser's: it is not its own to remove
    export_month(store.dsn, lake, "2026-01")
    assert require_equal(store.dsn, lake, "2026-01") == 60


def test_two_exporters_of_different_months_that_saw_the_same_version(store, settings, together):
    """Both commit: the one that comes second finds that the other touched another month, and tries again by itself."""
    say(store, JANUARY, 20)
    say(store, FEBRUARY, 30)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(export_month, store.dsn, Lake(settings.lake), month) for month in ("2026-01", "2026-02")]
        assert [each.result().is_written for each in running] == [True, True]
    lake = Lake(settings.lake)
    assert [require_equal(store.dsn, lake, month) for month in ("2026-01", "2026-02")] == [20, 30]
    assert [commit.number for commit in lake.commits(EVENTS.name)] == [1, 1]


def test_handles_that_are_out_of_date(store, settings):
    """Lakes opened before others' commits export what is there now, of the same month and of another, again and again."""
    handles = [Lake(settings.lake) for _ in range(3)]
    stream = uuid4()
    say(store, FEBRUARY, 3)
    for lake in handles:
        export_month(store.dsn, lake, "2026-02")  # all have the table open now
    for turn, lake in enumerate(handles * 2, start=1):
        say(store, JANUARY, 2, stream)
        result = export_month(store.dsn, lake, "2026-01")
        assert (result.is_written, result.rows) == (True, 2 * turn)
        assert require_equal(store.dsn, Lake(settings.lake), "2026-01") == 2 * turn
    for lake in handles:
        assert not export_month(store.dsn, lake, "2026-01").is_written
        assert require_equal(store.dsn, lake, "2026-02") == 3


def test_a_commit_is_not_made_twice(store, settings):
    """The same app transaction number sent again is refused, also by a handle that has not seen the first; no row is doubled."""
    say(store, JANUARY, 5)
    lake, stale = Lake(settings.lake), Lake(settings.lake)
    export_month(store.dsn, lake, "2026-01")
    assert stale.table(EVENTS.name).number({"month": "2026-01"}) == 1
    say(store, JANUARY, 5)
    export_month(store.dsn, lake, "2026-01")
    for number in (1, 2):
        with pytest.raises(CommitLostError):
            stale.table(EVENTS.name).commit([], {"month": "2026-01"}, number)
    assert require_equal(store.dsn, lake, "2026-01") == 10


def test_many_exporters_while_writers_append(store, settings):
    """Four exporters of two months, again and again, while events arrive: each ends well or is told that it lost."""
    is_over = threading.Event()

    def append() -> None:
        with connect(store.dsn) as conn:
            mine = Store(conn, store.dsn)
            while not is_over.is_set():
                for at in (JANUARY, FEBRUARY):
                    say(mine, at, 5)

    def export(month: str) -> list:
        lake = Lake(settings.lake)
        return [outcome(export_month, store.dsn, lake, month) for _ in range(4)]

    say(store, JANUARY, 1)
    say(store, FEBRUARY, 1)
    with ThreadPoolExecutor(5) as pool:
        writer = pool.submit(append)
        exporters = [pool.submit(export, month) for month in ("2026-01", "2026-02") * 2]
        try:
            outcomes = [each for exporter in exporters for each in exporter.result()]
        finally:
            is_over.set()
        writer.result()
    written = [each for each in outcomes if not isinstance(each, CommitLostError) and each.is_written]
    assert len(written) >= 2
    lake = Lake(settings.lake)
    numbers = [lake.table(EVENTS.name).number({"month": month}) for month in ("2026-01", "2026-02")]
    for month in ("2026-01", "2026-02"):
        export_month(store.dsn, lake, month)
        require_equal(store.dsn, lake, month)
    with lake.connect() as connection:
        query = "SELECT partition, list(number ORDER BY number) FROM commits WHERE dataset = 'events' GROUP BY ALL"
        remembered = dict(connection.sql(query).fetchall())
    for month, number in zip(("2026-01", "2026-02"), numbers, strict=True):
        assert remembered[f"month={month}"][:number] == list(range(1, number + 1)), COMMITS.grain


def test_who_commits_late_is_in_the_next_export(store, settings):
    """A transaction open during an export, and a prepared one, are not in it and not lost: the export after has them."""
    lake = Lake(settings.lake)
    stream = uuid4()
    say(store, JANUARY, 2, stream)
    with connect(store.dsn) as slow, connect(store.dsn) as prepared:
        slow.execute("BEGIN")
        say(Store(slow, store.dsn), JANUARY, 3)
        prepared.execute("BEGIN")
        say(Store(prepared, store.dsn), JANUARY, 4)
        prepared.execute("PREPARE TRANSACTION 'late'")
        say(store, JANUARY, 5, stream)  # later positions, committed first
        assert export_month(store.dsn, lake, "2026-01").rows == 7
        assert require_equal(store.dsn, lake, "2026-01") == 7
        slow.execute("COMMIT")
        assert export_month(store.dsn, lake, "2026-01").rows == 10
        say(store, JANUARY, 1, stream)
        assert export_month(store.dsn, lake, "2026-01").rows == 11
        prepared.execute("COMMIT PREPARED 'late'")
    assert export_month(store.dsn, lake, "2026-01").rows == 15
    assert require_equal(store.dsn, lake, "2026-01") == 15
    assert not export_month(store.dsn, lake, "2026-01").is_written


def test_a_server_that_goes_away_leaves_the_lake_as_it_was(store, settings):
    """Connections that end in the middle of an export are an error, never a shorter month."""
    lake = Lake(settings.lake)
    say(store, JANUARY, 5)
    export_month(store.dsn, lake, "2026-01")
    say(store, JANUARY, 2_000)

    def cut(_rows, *_more) -> None:
        with psycopg.connect(store.dsn, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
                [store.conn.info.backend_pid],
            )

    with pytest.raises((StoreUnavailable, psycopg.Error, adbc.Error)):
        export_month(store.dsn, lake, "2026-01", on_rows=cut)
    with lake.connect() as connection:
        assert connection.sql("SELECT count(*) FROM events").fetchall() in ([(5,)], [(2_005,)])
    export_month(store.dsn, lake, "2026-01")
    assert require_equal(store.dsn, Lake(settings.lake), "2026-01") == 2_005
