"""Months: partitions by UTC calendar month, made ahead or around events that are there already."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest

from pipelines.settings import Settings
from pipelines.store import InvalidEvent, NewEvent, Store, connect, month_of
from pipelines.store.sqlstate import typed_errors
from tests.support.databases import wait_for_who_waits
from tests.support.waiting import PATIENCE

ALL = "SELECT e.*, e.xid::text, e.payload::text FROM refold.events AS e ORDER BY position"


def say(at: datetime) -> NewEvent:
    return NewEvent("user.utterance.v1", {"text": str(at)}, {}, at)


def table_of(store: Store, at: datetime) -> str:
    return store.conn.execute(
        "SELECT c.relname FROM refold.events AS e JOIN pg_class AS c ON c.oid = e.tableoid WHERE e.created_at = %s",
        [at],
    ).fetchone()[0]


def test_a_month_is_made_once(store: Store) -> None:
    """Making a month twice makes it once, and says so."""
    times = [datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]
    assert store.ensure_months([*times, *times]) == ["2026-01", "2026-02"]
    assert store.ensure_months(times) == []


def test_months_are_utc_whatever_the_session_says(store: Store) -> None:
    """Bounds are UTC months in any session time zone, and an event's month is that of its UTC time."""
    store.conn.execute("SET timezone = 'Pacific/Kiritimati'")  # UTC+14
    last, first = datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    store.ensure_months([last, first])
    store.append(uuid4(), "conversation", [say(last), say(first)], "any")
    assert (table_of(store, last), table_of(store, first)) == ("events_2026_01", "events_2026_02")
    east = datetime(2026, 2, 1, 3, tzinfo=timezone(timedelta(hours=14)))
    assert (month_of(east), month_of(first), month_of(datetime(2026, 2, 1))) == ("2026-01", "2026-02", "2026-02")  # noqa: DTZ001 - naive is UTC


@pytest.mark.parametrize(
    "at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)], ids=["first", "last"]
)
def test_far_months_can_be_made(store: Store, at: datetime) -> None:
    """The first and the last month that a time can lie in have partitions like any other."""
    assert store.ensure_months([at]) == [month_of(at)]
    store.append(uuid4(), "conversation", [say(at)], "any")
    assert table_of(store, at) == f"events_{month_of(at).replace('-', '_')}"


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "0000-01", "2026-01-01", "x; DROP TABLE refold.events", None])
def test_what_is_no_month_is_refused(store: Store, month: str | None) -> None:
    """Only YYYY-MM from 0001-01 is a month."""
    with pytest.raises(InvalidEvent, match="write YYYY-MM"), typed_errors():
        store.conn.execute("SELECT refold.ensure_month(%s)", [month])


def test_strays_are_moved_as_they_are(store: Store) -> None:
    """Events without a month wait in DEFAULT; making their month moves exactly those, with every column as it was."""
    january, march = datetime(2024, 1, 10, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC)
    for at in (january, march):
        for n in range(50):
            store.append(uuid4(), "conversation", [say(at), say(at + timedelta(hours=n))], "any")
    strays = {m.month: m.events for m in store.months() if m.state == "stray"}
    assert strays == {"2024-01": 100, "2024-03": 100}
    before = store.conn.execute(ALL).fetchall()

    assert store.ensure_months([january]) == ["2024-01"]

    assert store.conn.execute(ALL).fetchall() == before
    states = {m.month: (m.state, m.events) for m in store.months() if m.events}
    assert states == {"2024-01": ("open", 100), "2024-03": ("stray", 100)}
    assert store.conn.execute("SELECT count(*) FROM refold.events_2024_01").fetchone() == (100,)
    assert store.ensure_months([march]) == ["2024-03"]
    assert store.conn.execute("SELECT count(*) FROM refold.events_default").fetchone() == (0,)
    assert store.conn.execute(ALL).fetchall() == before
    store.append(
        uuid4(), "conversation", [say(datetime(2024, 2, 1, tzinfo=UTC))], "any"
    )  # the new DEFAULT takes strays
    assert store.append(uuid4(), "conversation", [say(january)], "any").first_position > before[-1][0]


def test_a_month_can_be_made_inside_the_importing_transaction(store: Store) -> None:
    """Importers make months and append in one transaction; when it fails, neither is there."""
    at = datetime(2023, 5, 5, tzinfo=UTC)

    def fail() -> None:
        with store.transaction():
            store.append(uuid4(), "conversation", [say(at)], "any")
            store.ensure_months([at])
            store.append(uuid4(), "conversation", [say(at)], "any")
            assert store.conn.execute("SELECT count(*) FROM refold.events_2023_05").fetchone() == (2,)
            raise RuntimeError("the import failed")

    with pytest.raises(RuntimeError, match="import failed"):
        fail()
    assert "2023-05" not in {m.month for m in store.months()}


def test_processes_may_make_the_same_months_at_once(store: Store, store_settings: Settings) -> None:
    """Several sessions that need the same months make each exactly once, without deadlock."""
    times = [datetime(2022, month, 1, tzinfo=UTC) for month in range(1, 13)]
    made: list[str] = []

    def make() -> None:
        with Store.open(store_settings) as own:
            made.extend(own.ensure_months(times))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(made) == [month_of(at) for at in times]


def test_the_month_list_tells_rows_and_span(store: Store) -> None:
    """Each month reports its rows, first and last time, size, state and generation."""
    at = datetime(2026, 4, 2, tzinfo=UTC)
    store.ensure_months([at])
    store.append(uuid4(), "conversation", [say(at), say(at + timedelta(days=3))], "any")
    month = next(m for m in store.months() if m.month == "2026-04")
    assert (month.state, month.generation, month.events) == ("open", 1, 2)
    assert (month.first_created_at, month.last_created_at) == (at, at + timedelta(days=3))
    assert month.bytes > 0


def test_the_months_of_today_are_there(store: Store) -> None:
    """A migrated store has this month's partition: events of now are no strays."""
    stream = uuid4()
    store.append(stream, "conversation", [NewEvent("user.utterance.v1", {"text": "now"})], "no_stream")
    now = next(store.read_stream(stream)).created_at
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
    assert table_of(store, now).startswith(f"events_{now.year}")


def test_a_retry_finds_its_batch_while_strays_move(store: Store, store_settings: Settings) -> None:
    """A batch sent again while its events are being moved to their month is found there, not taken for a conflict."""
    at, stream = datetime(2024, 1, 10, tzinfo=UTC), uuid4()
    first = store.append(stream, "conversation", [say(at)], "no_stream")
    answers = []

    def retry() -> None:
        with Store.open(store_settings) as own:
            answers.append(own.append(stream, "conversation", [say(at)], "no_stream"))

    thread = threading.Thread(target=retry)
    with store.transaction():
        store.ensure_months([at])
        thread.start()
        wait_for_who_waits(store.conn)
    thread.join(PATIENCE)
    assert answers == [replace(first, duplicate=True)]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("call", ["refold.ensure_month('2024-01')", "refold.close_month('2023-01')"])
def test_months_are_changed_only_by_who_sees_everything(
    store: Store, store_settings: Settings, level: str, call: str
) -> None:
    """With an old snapshot, strays that came later would be invisible, and lost with the table they lie in: refused."""
    at = datetime(2024, 1, 10, tzinfo=UTC)
    store.ensure_months([datetime(2023, 1, 1, tzinfo=UTC)])
    store.append(uuid4(), "conversation", [say(at)], "any")
    with connect(store_settings.dsn or "") as conn:
        conn.execute(f"BEGIN ISOLATION LEVEL {level}".encode())
        conn.execute("SELECT count(*) FROM refold.months")
        store.append(uuid4(), "conversation", [say(at)], "any")
        with pytest.raises(InvalidEvent, match="read committed"), typed_errors():
            conn.execute(f"SELECT {call}".encode())
    assert store.conn.execute("SELECT count(*) FROM refold.events").fetchone() == (2,)
