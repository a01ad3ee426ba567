"""Many writers while connections and the server are killed: what was acknowledged is there once, and nothing else.

`REFOLD_TEST_SECONDS=600 pytest -n 0 tests/integration/test_store_crash.py` writes for ten minutes instead of seconds.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from pipelines.store import EmbeddedServer, NewEvent, Store, StoreBusy, StoreUnavailable, VersionConflict, connect
from tests.support.servers import crash, outer_folder

WRITERS = 16
SECONDS = float(os.environ.get("REFOLD_TEST_SECONDS", "3"))
RECOVERY_SECONDS = 60.0
START = datetime(2026, 4, 29, tzinfo=UTC)

# The chain by the documented rule, over all streams at once; the store computed it event by event.
BROKEN_LINKS = r"""
SELECT count(*) FROM (
    SELECT *, coalesce(lag(hash) OVER (PARTITION BY aggregate_id ORDER BY stream_version), decode(repeat('00', 32), 'hex')) AS prev
    FROM refold.events
) AS e
WHERE hash <> sha256(prev || convert_to(concat_ws(E'\n', '2', aggregate_id, aggregate_type, stream_version, event_type, event_version,
    (extract(epoch FROM created_at) * 1000000)::bigint, ''), 'UTF8') || sha256(salt || convert_to(payload::text || E'\n' || metadata::text, 'UTF8')))
"""
WRONG_HEADS = """
SELECT count(*) FROM refold.streams AS s
FULL JOIN (
    SELECT DISTINCT ON (aggregate_id) aggregate_id, stream_version, hash, created_at FROM refold.events
    ORDER BY aggregate_id, stream_version DESC
) AS e USING (aggregate_id)
WHERE (s.stream_version, s.hash, s.created_at) IS DISTINCT FROM (e.stream_version, e.hash, e.created_at)
"""


@dataclass
class Told:
    """What one writer was told.

    Attributes:
        stored: Text of each event that was acknowledged, and the stream and version it was acknowledged at.
        seen: Counts of conflicts, lost answers, and answers to a batch that was there already.
    """

    stored: dict[str, tuple[UUID, int]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)


def write(dsn: str, seed: int, streams: int, is_over: Callable[[], bool]) -> Told:
    """Append batches to random streams until it is over; every batch is sent again until its fate is known."""
    rng, told = random.Random(seed), Told()
    last: Counter[UUID] = Counter()
    store: Store | None = None
    number = 0
    while not is_over():
        stream, number = UUID(int=rng.randrange(streams) + 1), number + 1
        names = [f"{seed}.{number}.{n}" for n in range(rng.randint(1, 4))]
        at = START + timedelta(hours=rng.randrange(96))  # over the turn of a month
        events = [NewEvent("user.utterance.v1", {"text": name}, {}, at) for name in names]
        expected = last[stream]
        give_up = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                if store is None:
                    store = Store(connect(dsn), dsn)
                    store.check_cluster()
                result = store.append(stream, "conversation", events, expected)
                if rng.random() < 0.1 and not result.duplicate:
                    raise StoreUnavailable("as if the answer had been lost")  # noqa: TRY301 - what a dead line looks like
            except VersionConflict as conflict:
                told.seen["conflict" if conflict.expected == expected < conflict.actual else "wrong conflict"] += 1
                last[stream] = conflict.actual
            except StoreUnavailable:
                assert time.monotonic() < give_up, "the store did not come back"
                told.seen["lost"] += 1
                if store is not None:
                    store.conn.close()
                store = None
                time.sleep(0.02 + rng.random() / 10)
                continue
            else:
                told.seen["duplicate"] += result.duplicate
                assert (result.first_version, result.last_version) == (expected + 1, expected + len(names))
                told.stored |= {name: (stream, expected + n) for n, name in enumerate(names, 1)}
                last[stream] = result.last_version
            break
    if store is not None:
        store.conn.close()
    return told


def kill(server: EmbeddedServer, dsn: str, seed: int) -> Counter[str]:
    """End random connections, and now and then the whole server without warning; make a month around its strays."""
    rng, killed = random.Random(seed), Counter[str]()
    end, next_crash = time.monotonic() + SECONDS, time.monotonic() + 0.7
    while time.monotonic() < end or killed["server"] < 2 or not killed["month"]:
        assert time.monotonic() < end + RECOVERY_SECONDS, killed
        time.sleep(rng.random() / 10)
        if time.monotonic() >= next_crash:
            crash(server)
            killed["server"] += 1
            next_crash = time.monotonic() + rng.uniform(0.3, 1.5)
        with connect(dsn) as admin:
            ended = admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'refold' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 2"
            )
            killed["connection"] += len(ended.fetchall())
            if killed["server"]:
                with suppress(StoreBusy):  # writers were in the way: again next time
                    killed["month"] += len(Store(admin, dsn).ensure_months([START + timedelta(days=3)]))
    return killed


@pytest.fixture(scope="module")
def own_server(postgres_tools: Path | None) -> Iterator[EmbeddedServer]:
    """A server that this module may kill."""
    with outer_folder(postgres_tools) as home:
        with EmbeddedServer(home, postgres_tools, is_durable=False):
            pass  # made in a hurry, used with all that makes commits durable
        with EmbeddedServer(home, postgres_tools) as server:
            yield server


@pytest.mark.parametrize("streams", [4, 64])
def test_what_was_acknowledged_is_there_once(own_server: EmbeddedServer, streams: int) -> None:
    """16 writers, killed connections, lost answers, a crashing server: exactly the acknowledged events are stored.

    Each is there once at the version that was told; versions have no gap; chain and heads agree with the events; every
    refusal was a typed conflict or a typed loss (anything else ends its writer, and the test).
    """
    dsn = own_server.dsn_of(f"writers_on_{streams}")
    with connect(own_server.dsn) as admin:
        admin.execute(f"CREATE DATABASE writers_on_{streams}")
    with connect(dsn) as conn:
        Store(conn, dsn).migrate()
        Store(conn, dsn).ensure_months([START])
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        killer = pool.submit(kill, own_server, dsn, streams)
        writers = [pool.submit(write, dsn, seed, streams, killer.done) for seed in range(WRITERS)]
        told, killed = [writer.result() for writer in writers], killer.result()
    with connect(dsn) as conn:
        rows = conn.execute("SELECT payload ->> 'text', aggregate_id, stream_version FROM refold.events").fetchall()
        followed, after = [], (0, 0, 0)
        while page := Store(conn, dsn).read_all(after):
            followed += [event.payload["text"] for event in page]
            after = page[-1].order
        assert conn.execute(BROKEN_LINKS).fetchone() == (0,)
        assert conn.execute(WRONG_HEADS).fetchone() == (0,)

    acknowledged = {name: place for writer in told for name, place in writer.stored.items()}
    assert {name: (stream, version) for name, stream, version in rows} == acknowledged
    assert len(rows) == len(acknowledged)
    assert sorted(followed) == sorted(acknowledged)
    versions = Counter(stream for _, stream, _ in rows)
    assert {(s, v) for _, s, v in rows} == {(s, v) for s, n in versions.items() for v in range(1, n + 1)}
    seen = sum((writer.seen for writer in told), Counter())
    print(f"{len(rows)} events, {dict(seen)}, killed {dict(killed)}")
    assert seen["wrong conflict"] == 0
    assert min(killed["connection"], seen["lost"], seen["duplicate"], seen["conflict"]) > 0
