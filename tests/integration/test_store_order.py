"""Following the log: nothing missed, nothing twice, although transactions commit out of order.

`REFOLD_TEST_TRANSACTIONS=5000 pytest -n 0 tests/integration/test_store_order.py` follows for minutes instead of seconds.
"""

from __future__ import annotations

import os
import random
import threading
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import psycopg

from pipelines.settings import Settings
from pipelines.store import NewEvent, Store, connect, read
from tests.acceptance.stream_order import run_trial
from tests.support.waiting import PATIENCE, wait_until

EVENT = NewEvent("user.utterance.v1", {"text": "x"}, {}, datetime(2026, 5, 1, tzinfo=UTC))
WRITERS = 8
TRANSACTIONS = int(os.environ.get("REFOLD_TEST_TRANSACTIONS", "25"))
"""Of each writer."""


def test_a_late_commit_is_waited_for(store: Store, store_settings: Settings) -> None:
    """An event is not read before all older transactions are over; a reader ordered by position would lose it."""
    with Store.open(store_settings) as slow:
        with slow.transaction():
            late = slow.append(uuid4(), "conversation", [EVENT], "any")
            early = store.append(uuid4(), "conversation", [EVENT], "any")
            assert late.first_position < early.first_position
            assert store.read_all() == [], "the younger transaction has to wait for the older one"
            mark = store.watermark()
            assert mark.xid < mark.next_xid
            # What a reader ordered by position alone does: it sees the later position and moves past the earlier one.
            naive = store.conn.execute("SELECT max(position) FROM refold.events").fetchone()[0]
        lost = store.conn.execute("SELECT count(*) FROM refold.events WHERE position < %s", [naive]).fetchone()[0]
    assert lost == 1
    assert {e.position for e in store.read_all()} == {late.first_position, early.first_position}


def test_a_follower_sees_every_event_once(store: Store, store_settings: Settings) -> None:
    """Pages of any size give every committed event exactly once; a reader ordered by position alone loses some.

    Meanwhile 8 writers commit and roll back in random order, one transaction stays open from before the first of them
    until half of them have committed, and a month is made around events that are there already.
    """
    committed: list[int] = []
    writers = [threading.Thread(target=write, args=[store_settings, seed, committed]) for seed in range(WRITERS)]
    is_over = threading.Event()
    seen: list[tuple[int, int, int]] = []
    by_position: list[int] = []
    readers = [
        threading.Thread(target=follow, args=[store_settings, is_over, seen]),
        threading.Thread(target=read_by_position, args=[store_settings, is_over, by_position]),
    ]
    with Store.open(store_settings) as slow:
        with slow.transaction():
            slow.append(uuid4(), "conversation", [EVENT], "any")
            for thread in [*writers, *readers]:
                thread.start()
            wait_until(lambda: len(committed) >= WRITERS * TRANSACTIONS // 2 and by_position)
            assert seen == [], "all of them are younger than the open transaction"
        committed.append(1)
    store.ensure_months([EVENT.created_at])
    for thread in writers:
        thread.join(PATIENCE)
    is_over.set()
    for thread in readers:
        thread.join(PATIENCE)

    stored = store.conn.execute(
        "SELECT epoch, order_xid::text::bigint, position FROM refold.events ORDER BY 1, 2, 3"
    ).fetchall()
    assert len(stored) == sum(committed)
    assert seen == stored
    assert len(by_position) == len(set(by_position))
    assert set(by_position) < {position for _, _, position in stored}, "position alone is no order to follow"


def write(settings: Settings, seed: int, committed: list[int]) -> None:
    """Transactions of one to three appends, with pauses; one in five is rolled back."""
    rng = random.Random(seed)
    with Store.open(settings) as own:
        for _ in range(TRANSACTIONS):
            mine = 0
            with own.transaction():
                for _ in range(rng.randint(1, 3)):
                    result = own.append(uuid4(), "conversation", [EVENT] * rng.randint(1, 3), "any")
                    mine += result.last_version - result.first_version + 1
                    own.conn.execute("SELECT pg_sleep(%s)", [rng.random() / 200])
                if rng.random() < 0.2:
                    mine = 0
                    raise psycopg.Rollback
            committed.append(mine)


def follow(settings: Settings, is_over: threading.Event, seen: list[tuple[int, int, int]]) -> None:
    """Read pages of random size by checkpoint until nothing more comes."""
    rng = random.Random(0)
    after = (0, 0, 0)
    with Store.open(settings) as own:
        while True:
            was_over = is_over.is_set()
            events = own.read_all(after, rng.choice([1, 7, 1000]))
            seen.extend(e.order for e in events)
            after = events[-1].order if events else after
            if was_over and not events:
                return


def read_by_position(settings: Settings, is_over: threading.Event, seen: list[int]) -> None:
    """What `read_all` is there to avoid: read what is visible behind the largest position seen."""
    with Store.open(settings) as own:
        while True:
            was_over = is_over.is_set()
            rows = own.conn.execute(
                "SELECT position FROM refold.events WHERE position > %s ORDER BY position", [max(seen, default=0)]
            ).fetchall()
            seen.extend(row[0] for row in rows)
            if was_over and not rows:
                return


def test_reading_in_order_needs_no_sort(store: Store) -> None:
    """A page is read from the order index of each partition: its cost does not grow with the log."""
    store.ensure_months([EVENT.created_at])
    store.append(uuid4(), "conversation", [EVENT] * 5000, "any")
    store.conn.execute("ANALYZE refold.events")
    plan = "\n".join(row[0] for row in store.conn.execute(f"EXPLAIN {read._ALL}", [0, "0", 0, 100]).fetchall())
    assert "Index Scan using events_2026_05_epoch_order_xid_position_idx" in plan
    assert "Merge Append" in plan
    assert "Sort  (" not in plan
    assert "Filter" not in plan


def test_what_followers_wait_for_is_named(store: Store, store_settings: Settings) -> None:
    """A running and a prepared transaction are reported with pid or gid and age, and hold the watermark."""
    with Store.open(store_settings) as slow:
        gid = f"waiting in {store.conn.info.dbname}"
        slow.conn.execute("BEGIN")
        slow.append(uuid4(), "conversation", [EVENT], "any")
        slow.conn.execute(f"PREPARE TRANSACTION '{gid}'")
        with slow.transaction():
            slow.append(uuid4(), "conversation", [EVENT], "any")
            mine = [s for s in store.stalls() if s.database == store.conn.info.dbname]
            assert {(s.pid, s.gid) for s in mine} == {(None, gid), (slow.conn.info.backend_pid, None)}
            assert all(s.age_seconds is not None and s.age_seconds >= 0 for s in mine)
            assert store.watermark().xid <= min(s.xid for s in mine)
        assert store.read_all() == []
        store.conn.execute(f"COMMIT PREPARED '{gid}'")
    assert len(store.read_all()) == 2
    assert [s for s in store.stalls() if s.database == store.conn.info.dbname] == []


def test_a_writer_that_waited_comes_after_the_event_it_goes_on_from(store: Store, store_settings: Settings) -> None:
    """A transaction that wrote elsewhere first is older than the one it waits for; followers still have the stream in order."""
    shared = uuid4()
    store.append(shared, "conversation", [EVENT], "any")
    with Store.open(store_settings) as waiter:
        with waiter.transaction():
            waiter.append(uuid4(), "conversation", [EVENT], "any")  # has its transaction id from here on
            store.append(shared, "conversation", [EVENT], 1)
            assert [e.stream_version for e in store.read_all() if e.aggregate_id == shared] == [1], (
                "it waits for the older"
            )
            waiter.append(shared, "conversation", [EVENT], 2)
        store.append(shared, "conversation", [EVENT], 3)
    events = [event for event in store.read_all() if event.aggregate_id == shared]
    assert [event.stream_version for event in events] == [1, 2, 3, 4]
    second, third = events[1:3]
    assert third.xid < second.xid == third.order_xid
    paged, after = [], (0, 0, 0)
    while page := store.read_all(after, 1):
        paged += page
        after = page[-1].order
    assert [event for event in paged if event.aggregate_id == shared] == events


def test_what_is_rolled_back_leaves_no_order_behind(store: Store, store_settings: Settings) -> None:
    """A savepoint that was undone, a transaction that was, and a prepared one that was: the head orders as before."""
    shared = uuid4()
    first = store.append(shared, "conversation", [EVENT], "any")
    order = next(e.order_xid for e in store.read_all() if e.position == first.first_position)
    for statements in (
        ["SAVEPOINT s", None, "ROLLBACK TO s", "COMMIT"],
        [None, "ROLLBACK"],
        [None, "PREPARE TRANSACTION 'p'"],
    ):
        store.conn.execute("BEGIN")
        for statement in statements:
            if statement is None:
                store.append(shared, "conversation", [EVENT, EVENT], 1)
            else:
                store.conn.execute(statement.replace("'p'", f"'undone of {store.conn.info.dbname}'").encode())
    store.conn.execute(f"ROLLBACK PREPARED 'undone of {store.conn.info.dbname}'")
    head = store.conn.execute("SELECT stream_version, order_xid::text::bigint FROM refold.streams").fetchone()
    assert head == (1, order)


def test_streams_come_in_order_whoever_writes(store_settings: Settings, settings: Settings, empty_dsn: str) -> None:
    """16 writers on 3 streams, of every kind of transaction, over new epochs; followed, exported and imported meanwhile."""
    target = replace(settings, dsn=empty_dsn)
    for given in (store_settings, target):
        with connect(str(given.dsn)) as conn:
            store = Store(conn, str(given.dsn))
            store.migrate()
            store.ensure_months([EVENT.created_at])
    trial = run_trial(store_settings, target, seconds=float(os.environ.get("REFOLD_TEST_ORDER_SECONDS", "6")))
    assert trial.wrong == []
    assert trial.raised > 0, "an order by xid would have done"
    assert min(trial.events, trial.pages, trial.exports, trial.imports) > 1
