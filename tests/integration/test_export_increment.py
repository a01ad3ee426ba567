"""An open month grows by what is new, exactly once, whatever happens in between; in doubt it is written whole."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID, uuid5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pipelines.export.month as exporting
import pipelines.export.snapshot as snapshots
from pipelines.export.errors import ExportGapError, ExportLossError
from pipelines.export.month import export_month
from pipelines.lake.errors import CommitLostError
from pipelines.lake.lake import Lake
from pipelines.store import StoreUnavailable, connect
from tests.integration.exported import both, heads, say

HISTORIES = int(os.environ.get("REFOLD_TEST_EXPORT_HISTORIES", "4"))
"""Histories of the property; a long run sets more."""
MONTH = "2026-01"
AT = datetime(2026, 1, 5, tzinfo=UTC)
STREAMS = [uuid5(UUID(int=0), str(n)) for n in range(60)]
_months = count(1)


@pytest.fixture
def lake(store_settings):
    return Lake(store_settings.lake)


@pytest.fixture
def filled(store, lake):
    """January with 40 events, exported."""
    for stream in STREAMS[:20]:
        say(store, stream, ["a", "b"], AT)
    assert export_month(store.dsn, lake, MONTH).is_sorted
    return store


def equal(store, lake, month=MONTH):
    in_store, in_lake = both(store, lake, month)
    assert in_lake == in_store
    told, kept = heads(lake, month)
    assert kept == told


def files(lake):
    return lake.files("events", {"month": MONTH})


def test_only_what_is_new_is_read_and_added(filled, lake):
    """An increment reads its own events, leaves the sorted file alone, and a full export makes one sorted form of all."""
    before = files(lake)
    say(filled, STREAMS[0], ["c"], AT)
    say(filled, STREAMS[30], ["new", "stream"], AT)
    read = []
    done = export_month(filled.dsn, Lake(lake.root), MONTH, on_rows=lambda done, rows: read.append((done, rows)))
    assert (done.is_written, done.is_sorted, done.rows, done.added_rows, done.late_rows) == (True, False, 43, 3, 3)
    assert read[-1] == (3, 3)
    assert set(before) < set(files(lake))
    equal(filled, lake)
    assert not export_month(filled.dsn, lake, MONTH).is_written
    whole = export_month(filled.dsn, lake, MONTH, full=True)
    assert (whole.is_written, whole.is_sorted, whole.rows, whole.added_rows) == (True, True, 43, 0)
    assert len(files(lake)) == 1
    equal(filled, lake)
    assert not export_month(filled.dsn, lake, MONTH, full=True).is_written


def test_a_transaction_that_ends_after_the_export_is_in_the_next(filled, lake):
    """Its events have lower positions and transaction ids than some that are exported already; one is rolled back."""
    with connect(filled.dsn) as late, connect(filled.dsn) as never:
        for conn, stream in ((late, STREAMS[40]), (never, STREAMS[41])):
            conn.execute("BEGIN")
            conn.execute(
                "SELECT refold.append_events(%s, 'conversation', 'any', '{user.utterance.v1}', '{\"{\\\"text\\\": \\\"late\\\"}\"}', "
                "null, ARRAY[%s::timestamptz])",
                [stream, AT],
            )
        say(filled, STREAMS[1], ["meanwhile"], AT)
        assert export_month(filled.dsn, lake, MONTH).added_rows == 1
        equal(filled, lake)
        late.execute("COMMIT")
        assert export_month(filled.dsn, lake, MONTH).added_rows == 1
        equal(filled, lake)
        never.execute("ROLLBACK")
    assert not export_month(filled.dsn, lake, MONTH).is_written
    equal(filled, lake)


def test_increments_are_bounded_in_number_and_in_size(filled, lake, monkeypatch):
    """After so many, or when they hold too large a part of the month, the month is written in its sorted form."""
    monkeypatch.setattr(snapshots, "_MAX_INCREMENTS", 2)
    sorted_ = []
    for _ in range(3):
        say(filled, STREAMS[2], ["x"], AT)
        sorted_.append(export_month(filled.dsn, lake, MONTH).is_sorted)
    assert sorted_ == [False, False, True]
    say(filled, STREAMS[3], ["y"] * 11, AT)  # more than a quarter of 43
    assert export_month(filled.dsn, lake, MONTH).is_sorted
    equal(filled, lake)


def test_a_store_that_moved_is_read_by_epoch(filled, lake):
    """Events of a new epoch are new whatever their transaction ids; those of the old one are known."""
    filled.conn.execute("SELECT refold.new_epoch()")
    say(filled, STREAMS[4], ["after the move"], AT)
    done = export_month(filled.dsn, lake, MONTH)
    assert (done.is_sorted, done.added_rows) == (False, 1)
    equal(filled, lake)


@pytest.mark.parametrize("field", ["seen", "epoch"])
def test_a_watermark_of_the_future_is_not_believed(filled, lake, monkeypatch, field):
    """A store that was set back in time hands out transaction ids again: then the month is written whole."""
    export = snapshots.Snapshot.provenance
    ahead = {"seen": "900000000:900000000:", "epoch": 99}

    def provenance(self, **counts):
        return export(self, **counts) | {field: ahead[field]}

    monkeypatch.setattr(snapshots.Snapshot, "provenance", provenance)
    assert export_month(filled.dsn, lake, MONTH, full=True).is_written is False
    say(filled, STREAMS[5], ["x"] * 11, AT)
    assert export_month(filled.dsn, lake, MONTH).is_sorted
    monkeypatch.undo()
    say(filled, STREAMS[5], ["y"], AT)
    assert export_month(filled.dsn, lake, MONTH).is_sorted
    equal(filled, lake)


def test_rows_that_vanish_while_others_come_are_found(filled, lake):
    """The increment alone would look right; the counts do not, and the whole comparison names the stream."""
    filled.conn.execute("SET event_triggers = off")
    filled.conn.execute("ALTER TABLE refold.events_2026_01 DISABLE TRIGGER ALL")
    gone = [STREAMS[6]]
    filled.conn.execute("DELETE FROM refold.events_2026_01 WHERE aggregate_id = %s AND stream_version = 2", gone)
    say(filled, STREAMS[7], ["x", "y"], AT)
    with pytest.raises(ExportLossError, match=f"{STREAMS[6]}: the lake has it up to version 2"):
        export_month(filled.dsn, lake, MONTH)
    with lake.connect() as connection:
        assert connection.sql("SELECT count(*) FROM events").fetchall() == [(40,)]
    assert len(files(lake)) == len(list((lake.root / "events").rglob("*.parquet"))) == 1


def test_a_tail_that_the_store_lost_is_found(store, lake):
    """The store's own heads say how far its streams go: a truncated tail is refused also when the lake never saw it."""
    say(store, STREAMS[0], ["a", "b", "c"], AT)
    store.conn.execute("SET event_triggers = off")
    store.conn.execute("ALTER TABLE refold.events_2026_01 DISABLE TRIGGER ALL")
    store.conn.execute("DELETE FROM refold.events_2026_01 WHERE stream_version = 3")
    with pytest.raises(ExportGapError, match="the store's head is at version 3, but the last event is version 2"):
        export_month(store.dsn, lake, MONTH)
    assert files(lake) == []


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False), (True, True)])
def test_of_two_exports_at_once_one_wins_and_nothing_is_twice(filled, lake, monkeypatch, first, second):
    """Both read the same month; the second commits while the first is about to: the first loses, whole or increment."""
    say(filled, STREAMS[8], ["x"], AT)
    compare = exporting.refuse_damage

    def overtaken(connection, reader, now):
        monkeypatch.setattr(exporting, "refuse_damage", compare)
        compare(connection, reader, now)
        assert export_month(filled.dsn, Lake(lake.root), MONTH, full=second).is_written

    monkeypatch.setattr(exporting, "refuse_damage", overtaken)
    with pytest.raises(CommitLostError):
        export_month(filled.dsn, lake, MONTH, full=first)
    equal(filled, lake)
    assert set(files(lake)) <= {str(path) for path in (lake.root / "events").rglob("*.parquet")}
    assert not export_month(filled.dsn, lake, MONTH).is_written


def test_two_months_at_once_with_stale_handles(filled, lake):
    """Exports of different months do not stand in each other's way, and each table holds both."""
    february = datetime(2026, 2, 5, tzinfo=UTC)
    for stream in STREAMS[:20]:
        say(filled, stream, ["c", "d"], february)
    export_month(filled.dsn, lake, "2026-02")
    handles = {month: Lake(lake.root) for month in (MONTH, "2026-02")}
    for month, handle in handles.items():
        assert handle.last_commit("events", {"month": month})
    say(filled, STREAMS[50], ["late"], AT)
    say(filled, STREAMS[51], ["new"], february)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda month: export_month(filled.dsn, handles[month], month), handles))
    assert [(each.is_sorted, each.added_rows) for each in done] == [(False, 1), (False, 1)]
    for month in handles:
        equal(filled, lake, month)


def test_a_server_that_goes_away_leaves_the_lake_as_it_was(filled, lake):
    """Connections that end in the middle are the store's error, and no file of the attempt stays."""
    before = files(lake)
    say(filled, STREAMS[10], ["x"], AT)

    def end_the_others(_done, _rows):
        filled.conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    with pytest.raises(StoreUnavailable):
        export_month(filled.dsn, lake, MONTH, on_rows=end_the_others)
    assert files(lake) == before == [str(path) for path in (lake.root / "events").rglob("*.parquet")]
    assert export_month(filled.dsn, lake, MONTH).added_rows == 1
    equal(filled, lake)


class Killed(BaseException):
    """The process is gone."""


def killed(*_args, **_more):
    raise Killed


def kill_at(patch: pytest.MonkeyPatch, point: str) -> None:
    """End the next export at a point of its protocol."""
    remember = Lake._remember

    def forgets(self, commits):
        return killed() if point in [commit.dataset for commit in commits] else remember(self, commits)

    if point in ("events", "stream_months"):  # committed, and not remembered
        patch.setattr(Lake, "_remember", forgets)
    else:
        patch.setattr(exporting, point, killed)


POINTS = ["refuse_damage", "events", "commit_heads", "stream_months"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("full", [False, True])
def test_a_crash_between_commits_is_made_good(filled, lake, point, full):
    """Data without provenance, events without heads: the next export knows that it knows nothing, and nothing is twice."""
    say(filled, STREAMS[9], ["x"], AT)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, point)
        with pytest.raises(Killed):
            export_month(filled.dsn, Lake(lake.root), MONTH, full=full)
    in_store, in_lake = both(filled, lake, MONTH)
    assert len(in_lake) == (40 if point == "refuse_damage" else 41)
    assert set(in_lake) <= set(in_store)
    export_month(filled.dsn, Lake(lake.root), MONTH)
    equal(filled, lake)
    assert not export_month(filled.dsn, Lake(lake.root), MONTH).is_written


ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 50), st.integers(1, 3)),
    st.tuples(st.just("hold"), st.integers(0, 3), st.integers(51, 59)),
    st.tuples(st.just("end"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("export"), st.booleans(), st.just(None)),
    st.tuples(st.just("crash"), st.sampled_from(POINTS), st.booleans()),
    st.tuples(st.just("make month"), st.just(None), st.just(None)),
    st.tuples(st.just("new epoch"), st.just(None), st.just(None)),
)


@settings(
    max_examples=HISTORIES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(actions=st.lists(ACTIONS, min_size=6, max_size=16))
def test_after_every_history_the_lake_is_the_store(store, tmp_path, actions):
    """Whatever was appended, held open, rolled back, moved, exported or cut short: an export leaves no difference.

    Each history has a month and streams of its own, which begins among the strays.
    """
    number = next(_months)
    month = f"{1000 + number}-02"
    at = datetime(1000 + number, 2, 3, tzinfo=UTC)
    streams = [uuid5(UUID(int=number), str(n)) for n in range(60)]
    lake = Lake(tmp_path / str(number))
    for stream in streams[:20]:
        say(store, stream, ["a", "b"], at, make_month=False)
    held = {}
    try:
        for step, (action, one, two) in enumerate(actions):
            if action == "append":
                say(store, streams[one], ["x"] * two, at + timedelta(seconds=step), make_month=False)
            elif action == "hold" and one not in held:
                conn = held[one] = connect(store.dsn).__enter__()
                conn.execute("BEGIN")
                conn.execute("SET LOCAL lock_timeout = '100ms'")
                try:
                    conn.execute(
                        "SELECT refold.append_events(%s, 'conversation', 'any', '{user.utterance.v1}', '{\"{}\"}', null, %s)",
                        [streams[two], [at]],
                    )
                except Exception:  # noqa: BLE001 -- another holds the stream
                    held.pop(one).close()
            elif action == "end" and one in held:
                conn = held.pop(one)
                conn.execute("COMMIT" if two else "ROLLBACK")
                conn.close()
            elif action == "make month" and not held:
                store.conn.execute("SELECT refold.ensure_month(%s)", [month])
            elif action == "new epoch" and not held:
                store.conn.execute("SELECT refold.new_epoch()")
            elif action == "export":
                export_month(store.dsn, lake, month, full=one)
                equal(store, lake, month)
            elif action == "crash":
                with pytest.MonkeyPatch.context() as patch:
                    kill_at(patch, one)
                    try:
                        export_month(store.dsn, Lake(lake.root), month, full=two)
                    except Killed:
                        in_store, in_lake = both(store, lake, month)
                        assert set(in_lake) <= set(in_store)
                        assert len(in_lake) == len(set(in_lake))
        for conn in held.values():
            conn.execute("COMMIT")
            conn.close()
        held = {}
        export_month(store.dsn, lake, month)
        equal(store, lake, month)
    finally:
        for conn in held.values():
            conn.close()
