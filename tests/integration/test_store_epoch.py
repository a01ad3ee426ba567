"""A store that came into another cluster: appends stop until somebody says so, and order survives."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from pipelines.settings import Settings
from pipelines.store import NewEvent, Store, StoreBusy, StoreReadOnly, VersionConflict
from tests.support.databases import wait_for_who_waits
from tests.support.waiting import PATIENCE

EVENT = NewEvent("user.utterance.v1", {"text": "x"}, {}, datetime(2026, 5, 1, tzinfo=UTC))

# What a restore into another cluster leaves: another identity, or transaction ids this cluster has not reached.
MOVES = {
    "another cluster": "UPDATE refold.store SET system_identifier = 42, checked_start = now() - interval '1 day'",
    "younger cluster": "UPDATE refold.store SET checked_start = now() - interval '1 day'",
}


def restored(store: Store, move: str) -> None:
    """Make the database look like one that was restored, with an event whose transaction is far ahead."""
    if move == "younger cluster":
        store.conn.execute(
            "INSERT INTO refold.events OVERRIDING SYSTEM VALUE SELECT position + 1000, created_at, '900000000'::xid8, "
            "'900000000'::xid8, epoch, 1, event_version, gen_random_uuid(), aggregate_type, event_type, payload, metadata, hash, salt, digest "
            "FROM refold.events LIMIT 1"
        )
    store.conn.execute(MOVES[move].encode())


@pytest.mark.parametrize("move", MOVES)
def test_appends_stop_in_another_cluster(store: Store, store_settings: Settings, move: str) -> None:
    """Appends are refused by type, also through a new connection; reading goes on; nothing is stored."""
    store.append(uuid4(), "conversation", [EVENT], "any")
    restored(store, move)
    before = store.conn.execute("SELECT count(*) FROM refold.events").fetchone()
    with Store.open(store_settings) as opened:
        assert opened.check_cluster() is False
        with pytest.raises(StoreReadOnly, match="refold db new-epoch"):
            opened.append(uuid4(), "conversation", [EVENT], "any")
        assert opened.months()
    assert store.conn.execute("SELECT count(*) FROM refold.events").fetchone() == before


@pytest.mark.parametrize("move", MOVES)
def test_a_new_epoch_goes_on_after_the_old(store: Store, move: str) -> None:
    """After `new_epoch` appends go on, and a follower reads all old events first, then the new ones, each once."""
    stream = uuid4()
    store.append(stream, "conversation", [EVENT, EVENT], "no_stream")
    restored(store, move)
    assert store.new_epoch() == 2
    store.append(stream, "conversation", [EVENT], 2)
    with pytest.raises(VersionConflict):
        store.append(stream, "conversation", [EVENT, EVENT], 2)
    events, after = [], (0, 0, 0)
    while page := store.read_all(after, 1):
        events.extend(page)
        after = page[-1].order
    assert [e.epoch for e in events] == [1] * (len(events) - 1) + [2]
    assert len(events) == store.conn.execute("SELECT count(*) FROM refold.events").fetchone()[0]
    assert events[-1].stream_version == 3


def test_a_transaction_of_its_own_is_not_a_restore(store: Store) -> None:
    """The check is not fooled by events that the same open transaction appended."""
    store.conn.execute("UPDATE refold.store SET checked_start = NULL")
    with store.transaction():
        for _ in range(3):
            store.append(uuid4(), "conversation", [EVENT], "any")
    assert len(store.read_all()) == 3


def test_a_new_epoch_waits_for_writers(store: Store, store_settings: Settings) -> None:
    """An event of the old epoch may not appear after one of the new: followers would have passed it."""
    with Store.open(store_settings) as slow, slow.transaction():
        slow.append(uuid4(), "conversation", [EVENT], "any")
        with pytest.raises(StoreBusy, match=rf"the new epoch has not begun.*pid {slow.conn.info.backend_pid}"):
            store.new_epoch(wait_seconds=0.1)
    assert store.new_epoch() == 2
    assert [event.epoch for event in store.read_all()] == [1]


def test_a_writer_that_waits_for_a_new_epoch_writes_in_it(store: Store, store_settings: Settings) -> None:
    """Which epoch it is, a writer asks behind the lock of its stream, and the stream's order starts anew."""
    stream = uuid4()
    store.append(stream, "conversation", [EVENT], "any")
    with Store.open(store_settings) as late:
        with store.transaction():
            store.conn.execute("SELECT refold.new_epoch()")
            waiting = threading.Thread(target=late.append, args=[stream, "conversation", [EVENT], 1])
            waiting.start()
            wait_for_who_waits(store.conn)
        waiting.join(PATIENCE)
    events = store.read_all()
    assert [(event.epoch, event.stream_version) for event in events] == [(1, 1), (2, 2)]
    assert events[1].order_xid == events[1].xid
