"""A store dumped and restored into another cluster: a follower goes on with its checkpoint, in one order, nothing twice."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, NewEvent, Store, StoredEvent, StoreReadOnly
from pipelines.store.postmaster import binaries
from tests.support.servers import fresh_server

AT = datetime(2026, 5, 30, tzinfo=UTC)


def say(text: str, days: int = 0) -> NewEvent:
    return NewEvent("user.utterance.v1", {"text": text}, {}, AT + timedelta(days=days))


@pytest.fixture
def other_server(postgres_tools: Path | None) -> Iterator[EmbeddedServer]:
    """A second cluster, new and empty."""
    with fresh_server(postgres_tools) as server:
        yield server


def move(server: EmbeddedServer, database: str, target: EmbeddedServer, folder: Path) -> None:
    """Dump one database and the roles, and restore them elsewhere, with PostgreSQL's own programs and their defaults."""
    tools = server.tools or binaries()

    def run(program: str, *arguments: str, may_fail: bool = False) -> None:
        done = subprocess.run([tools / program, *arguments], capture_output=True, text=True, check=False)
        assert may_fail or (done.returncode, done.stderr) == (0, "")

    run("pg_dumpall", "--roles-only", f"--dbname={server.dsn}", f"--file={folder / 'roles.sql'}")
    run("pg_dump", "--format=custom", f"--file={folder / 'store.dump'}", server.dsn_of(database))
    # the superuser is there already
    run("psql", "--quiet", f"--file={folder / 'roles.sql'}", target.dsn, may_fail=True)
    run("pg_restore", "--exit-on-error", f"--dbname={target.dsn}", str(folder / "store.dump"))


def follow(store: Store, after: tuple[int, int, int], limit: int = 7) -> list[StoredEvent]:
    """All that is complete after a checkpoint, in pages."""
    events: list[StoredEvent] = []
    while page := store.read_all(events[-1].order if events else after, limit):
        events += page
    return events


def test_a_follower_goes_on_in_another_cluster(
    store: Store,
    store_settings: Settings,
    server: EmbeddedServer,
    other_server: EmbeddedServer,
    tmp_path: Path,
) -> None:
    """After dump and restore appends stop until `new_epoch`; then a follower gets the rest of the old, then the new.

    Guard, chain, versions and the answers to retries come along.
    """
    store.ensure_months([AT])
    for n in range(20):
        with Store.open(store_settings) as late, late.transaction():
            late.append(UUID(int=n), "conversation", [say(f"late {n}"), say(f"later {n}", 3)], "no_stream")
            store.append(UUID(int=100 + n), "conversation", [say(f"early {n}", n)], "no_stream")
    old = follow(store, (0, 0, 0))
    assert len(old) == 60
    with psycopg.connect(other_server.dsn) as conn:
        cluster_xid = int(conn.execute("SELECT pg_current_xact_id()::text").fetchone()[0])
    assert cluster_xid < old[30].xid, "the new cluster has not reached the transactions that the store holds"
    seen = old[:30]  # the follower has its checkpoint in the middle

    assert store.conn.info.dbname is not None
    move(server, store.conn.info.dbname, other_server, tmp_path)

    with Store.open(replace(store_settings, dsn=other_server.dsn)) as moved:
        assert moved.guard_problems() == []
        assert moved.check_cluster() is False
        assert list(moved.read_stream(UUID(int=3))) == [e for e in old if e.aggregate_id == UUID(int=3)]
        for stream, expected in ((UUID(int=3), 2), (UUID(int=500), "no_stream")):
            with pytest.raises(StoreReadOnly, match="refold db new-epoch"):
                moved.append(stream, "conversation", [say("too soon")], expected)
        seen += follow(moved, seen[-1].order)
        assert seen == old[: len(seen)], "before the new epoch it may wait, but it never gets anything else"

        assert moved.new_epoch() == 2
        assert moved.check_cluster() is True
        seen += follow(moved, seen[-1].order)
        assert seen == old
        assert moved.append(UUID(int=119), "conversation", [say("early 19", 19)], "no_stream").duplicate
        assert moved.append(UUID(int=3), "conversation", [say("new")], 2).first_version == 3
        moved.append(UUID(int=500), "conversation", [say("new", 40)], "no_stream")
        new = follow(moved, seen[-1].order)
        assert [(e.epoch, e.aggregate_id.int, e.stream_version) for e in new] == [(2, 3, 3), (2, 500, 1)]
        assert min(e.position for e in new) > max(e.position for e in old)
        assert moved.ensure_months([AT + timedelta(days=40)]) == ["2026-07"]
        assert follow(moved, (0, 0, 0)) == old + new
        assert moved.guard_problems() == []
        # the other cluster's counter passing the old transactions changes nothing
        assert follow(moved, (1, old[-1].xid, old[-1].position)) == new
