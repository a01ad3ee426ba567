"""Export from a real PostgreSQL into a real Delta table: complete, repeatable, and unable to lose."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from pipelines.export.errors import ExportGapError, ExportLossError
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.export.snapshot import month_bounds
from pipelines.lake.lake import Lake
from pipelines.store import NewEvent, Store, connect
from tests.integration.exported import both, say
from tests.support.databases import wait_for_who_waits
from tests.support.waiting import PATIENCE

UGLY = ["", "é\u2028\u202f x", '"quoted"\n', "3.0632e-05", "𝔘" * 50, "\\u0041"]


def unguard(store: Store) -> None:
    """Do what only a superuser can: switch the guards of January off."""
    store.conn.execute("SET event_triggers = off")
    store.conn.execute("ALTER TABLE refold.events_2026_01 DISABLE TRIGGER ALL")


@pytest.mark.quick
def test_a_month_in_the_lake_equals_the_store(store, settings):
    """Every column of every event is the same in both, to the byte and the microsecond."""
    lake = Lake(settings.lake)
    at = datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
    for _ in range(20):
        say(store, uuid4(), UGLY, at, timedelta(microseconds=1))
    assert months_to_export(store, lake) == ["2026-01", "2026-02"]
    for month in ("2026-01", "2026-02"):
        result = export_month(store.dsn, lake, month)
        in_store, in_lake = both(store, lake, month)
        assert in_lake == in_store
        assert (result.rows, result.streams, result.is_written) == (len(in_store), 20, True)


def test_exporting_again_writes_nothing(store, settings):
    """An unchanged month is found to be there; a changed one is exported whole, and only that one."""
    lake = Lake(settings.lake)
    stream = uuid4()
    say(store, stream, ["a", "b"], datetime(2026, 1, 5, tzinfo=UTC))
    assert export_month(store.dsn, lake, "2026-01").is_written
    again = export_month(store.dsn, Lake(settings.lake), "2026-01")
    assert (again.is_written, again.rows, again.streams) == (False, 2, 1)
    say(store, stream, ["c"], datetime(2026, 1, 6, tzinfo=UTC))
    assert export_month(store.dsn, lake, "2026-01").rows == 3
    in_store, in_lake = both(store, lake, "2026-01")
    assert in_lake == in_store


def test_stream_months_link_the_chain_across_months(store, settings):
    """A month's `prev_hash` is the last link before it, or 32 zero bytes at the stream's start."""
    lake = Lake(settings.lake)
    stream = uuid4()
    say(store, stream, ["a", "b"], datetime(2026, 1, 5, tzinfo=UTC))
    say(store, stream, ["c"], datetime(2026, 3, 5, tzinfo=UTC))
    for month in ("2026-03", "2026-01"):  # the order of exports is no input
        export_month(store.dsn, lake, month)
    with lake.connect() as connection:
        rows = connection.sql(
            "SELECT month, first_version, last_version, event_count, prev_hash, last_hash FROM stream_months ORDER BY month"
        ).fetchall()
    hashes = [row[0] for row in store.conn.execute("SELECT hash FROM refold.events ORDER BY stream_version").fetchall()]
    assert rows == [("2026-01", 1, 2, 2, bytes(32), hashes[1]), ("2026-03", 3, 3, 1, hashes[1], hashes[2])]


def test_strays_are_exported(store, settings):
    """An event without a partition of its month is in the DEFAULT partition, and in the export."""
    lake = Lake(settings.lake)
    store.append(
        uuid4(),
        "conversation",
        [NewEvent("user.utterance.v1", {"text": "x"}, {}, datetime(1999, 7, 1, tzinfo=UTC))],
        "any",
    )
    assert "1999-07" in months_to_export(store, lake)
    assert export_month(store.dsn, lake, "1999-07").rows == 1


def test_an_export_that_would_lose_aborts(store, settings, server):
    """When the store holds less than the lake, the lake stays as it is and the error names the stream."""
    lake = Lake(settings.lake)
    stream = uuid4()
    say(store, stream, ["a", "b", "c"], datetime(2026, 1, 5, tzinfo=UTC))
    export_month(store.dsn, lake, "2026-01")
    unguard(store)
    store.conn.execute("DELETE FROM refold.events_2026_01 WHERE stream_version = 3")
    with pytest.raises(
        ExportLossError, match=f"{stream}: the lake has it up to version 3, the store has it up to version 2"
    ):
        export_month(store.dsn, lake, "2026-01")
    store.conn.execute("DELETE FROM refold.events_2026_01")
    with pytest.raises(ExportLossError, match="the store does not have it"):
        export_month(store.dsn, lake, "2026-01")
    with lake.connect() as connection:
        assert connection.sql("SELECT count(*) FROM events").fetchall() == [(3,)]
    assert len(list((settings.lake / "events").rglob("*.parquet"))) == 1


def test_a_gap_inside_a_stream_aborts(store, settings):
    """A missing version inside a month is damage, not data."""
    say(store, uuid4(), ["a", "b", "c"], datetime(2026, 1, 5, tzinfo=UTC))
    unguard(store)
    store.conn.execute("DELETE FROM refold.events_2026_01 WHERE stream_version = 2")
    with pytest.raises(ExportGapError, match="versions 1 to 3 should be 3 events, there are 2"):
        export_month(store.dsn, Lake(settings.lake), "2026-01")


@pytest.mark.quick
def test_month_bounds():
    """A month is half-open and ends where the next begins, also in December."""
    assert month_bounds("2025-12") == (datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    assert month_bounds("0001-01")[0] == datetime(1, 1, 1, tzinfo=UTC)


def test_strays_that_move_during_an_export_are_in_it(store, settings):
    """An export that waits while strays move to their month sees them after the move, not in neither place."""
    lake = Lake(settings.lake)
    at = datetime(1999, 7, 1, tzinfo=UTC)
    store.append(uuid4(), "conversation", [NewEvent("user.utterance.v1", {"text": "x"}, {}, at)], "any")
    results = []
    with connect(store.dsn) as mover:
        mover.execute("BEGIN")
        mover.execute("SELECT refold.ensure_month('1999-07')")
        exporter = threading.Thread(target=lambda: results.append(export_month(store.dsn, lake, "1999-07")))
        exporter.start()
        wait_for_who_waits(mover)
        mover.execute("COMMIT")
        exporter.join(PATIENCE)
    assert results[0].rows == 1
    in_store, in_lake = both(store, lake, "1999-07")
    assert in_lake == in_store
