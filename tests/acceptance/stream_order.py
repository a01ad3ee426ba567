"""The order of a stream, proven by force: many writers on few streams, and every kind of follower behind them.

`python tests/acceptance/stream_order.py [--seconds 180] [--writers 16] [--streams 3]` runs for minutes on a server of its
own; `tests/integration/test_store_order.py` runs the same for seconds. Writers go into another stream first (so that they
carry an old transaction id to the stream they then wait for), use savepoints, roll back, prepare and commit or roll back
later; new epochs begin meanwhile. `read_all`, the exporter and `import postgres` follow: each must have every stream in
the order of its versions, whole and once, at every moment.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg

from pipelines.export.month import export_month
from pipelines.ingest.postgres.importing import import_postgres
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, NewEvent, Store, StoreBusy, connect

AT = datetime(2026, 5, 1, tzinfo=UTC)
MONTH = "2026-05"
EVENT = NewEvent("user.utterance.v1", {"text": "x"}, {}, AT)
_VIEW = """
CREATE VIEW public.followed AS
SELECT position AS id, aggregate_id, aggregate_type, event_type, event_version, payload, created_at FROM refold.events
"""


@dataclass
class Trial:
    """What a run saw.

    Attributes:
        events: Events committed.
        raised: Events whose `order_xid` is not their own `xid`: those that an order by `xid` would have got wrong.
        epochs: Epochs of the run.
        pages: Pages that the follower read.
        exports: Exports made.
        imports: Imports made.
        wrong: What was not as it must be, in words; empty is what is to be shown.
    """

    events: int = 0
    raised: int = 0
    epochs: int = 1
    pages: int = 0
    exports: int = 0
    imports: int = 0
    wrong: list[str] = field(default_factory=list)


def run_trial(
    settings: Settings, target: Settings, seconds: float, *, writers: int = 16, streams: int = 3, epochs: int = 2
) -> Trial:
    """Write and follow for so long.

    Args:
        settings: The store, empty, with the month of `AT`; its lake is exported to.
        target: Another store, empty, which the log is imported into.
        seconds: How long writers write.
        writers: Threads, each with its own connection.
        streams: Streams they share.
        epochs: Times that a new epoch begins meanwhile.
    """
    trial = Trial(epochs=1 + epochs)
    ids = [UUID(int=n + 1) for n in range(streams)]
    until = time.monotonic() + seconds
    is_over = threading.Event()

    def guarded(work: Callable[..., None], *arguments: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:  # noqa: BLE001 -- a thread's failure is the trial's
                trial.wrong.append(f"{work.__name__}: {type(error).__name__}: {error}")

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with Store.open(settings) as store:
        store.conn.execute(_VIEW)
        working = [guarded(_write, settings, seed, ids, until) for seed in range(writers)]
        following = [
            guarded(_follow, settings, is_over, trial),
            guarded(_export, settings, is_over, trial),
            guarded(_import, settings, target, is_over, trial),
        ]
        for n in range(epochs):
            time.sleep(max(until - time.monotonic(), 0) / (epochs - n + 1))
            store.new_epoch()
        for thread in working:
            thread.join()
        is_over.set()
        for thread in following:
            thread.join()
        found = store.conn.execute(
            "SELECT count(*), count(*) FILTER (WHERE order_xid <> xid) FROM refold.events"
        ).fetchone()
        assert found is not None
        trial.events, trial.raised = found
    return trial


def _write(settings: Settings, seed: int, streams: list[UUID], until: float) -> None:
    rng = random.Random(seed)
    own = UUID(int=1000 + seed)
    with Store.open(settings) as store:
        number = 0
        while time.monotonic() < until:
            number += 1
            gid = f"order {settings.home.name} {seed} {number}"
            try:
                _transaction(store, rng, own, streams, gid)
            except StoreBusy:
                continue  # a deadlock of two writers, each with a stream that the other wants


def _transaction(store: Store, rng: random.Random, own: UUID, streams: list[UUID], gid: str) -> None:
    """One transaction: an event of its own stream first or not, then shared streams, then one of four ends."""
    end = rng.choice(["commit", "commit", "commit", "rollback", "prepare", "prepare and roll back"])
    store.conn.execute("BEGIN")
    try:
        if rng.random() < 0.7:
            store.append(own, "conversation", [EVENT], "any")
            if rng.random() < 0.3:
                store.conn.execute("SELECT pg_sleep(%s)", [rng.random() / 50])
        chosen = rng.sample(streams, rng.choice([1, 1, 1, 2]))
        for stream in chosen if rng.random() < 0.02 else sorted(chosen):  # a deadlock takes a second to be found
            if rng.random() < 0.3:
                store.conn.execute("SAVEPOINT before")
                store.append(stream, "conversation", [EVENT] * rng.randint(1, 2), "any")
                store.conn.execute("ROLLBACK TO SAVEPOINT before" if rng.random() < 0.6 else "RELEASE SAVEPOINT before")
            store.append(stream, "conversation", [EVENT] * rng.randint(1, 3), "any")
        if end.startswith("prepare"):
            store.conn.execute(f"PREPARE TRANSACTION '{gid}'")
            store.conn.execute("SELECT pg_sleep(%s)", [rng.random() / 100])
            store.conn.execute(f"{'COMMIT' if end == 'prepare' else 'ROLLBACK'} PREPARED '{gid}'")
        else:
            store.conn.execute("COMMIT" if end == "commit" else "ROLLBACK")
    except BaseException:
        store.conn.execute("ROLLBACK")
        raise


def _follow(settings: Settings, is_over: threading.Event, trial: Trial) -> None:
    """Pages of random size by checkpoint: every stream from version 1 on, no version left out, none twice."""
    rng = random.Random(0)
    after = (0, 0, 0)
    last: Counter[UUID] = Counter()
    with Store.open(settings) as store:
        while True:
            was_over = is_over.is_set()
            events = store.read_all(after, rng.choice([1, 7, 100, 1000]))
            trial.pages += 1
            for event in events:
                if event.order <= after or event.stream_version != last[event.aggregate_id] + 1:
                    trial.wrong.append(
                        f"read_all: stream {event.aggregate_id} version {event.stream_version} after {last[event.aggregate_id]}"
                    )
                last[event.aggregate_id], after = event.stream_version, event.order
            if was_over and not events:
                break
        _compare(trial, "read_all", last, store)


def _export(settings: Settings, is_over: threading.Event, trial: Trial) -> None:
    """Exports, most of them increments; an export refuses a stream with a gap by itself."""
    assert settings.dsn is not None
    lake = Lake(settings.lake)
    with Store.open(settings) as store:
        while True:
            was_over = is_over.is_set()
            export_month(settings.dsn, lake, MONTH)
            trial.exports += 1
            with lake.connect() as connection:
                rows = connection.sql(
                    "SELECT aggregate_id, max(stream_version), count(*), count(DISTINCT stream_version) FROM events GROUP BY 1"
                ).fetchall()
            trial.wrong += [f"export: stream {row[0]} is not whole: {row[1:]}" for row in rows if len(set(row[1:])) > 1]
            if was_over:
                break
            time.sleep(0.2)
        _compare(trial, "export", Counter({UUID(row[0]): row[1] for row in rows}), store)


def _import(settings: Settings, target: Settings, is_over: threading.Event, trial: Trial) -> None:
    """Imports of the log into another store: no row comes after a later one of its stream was taken."""
    assert settings.dsn is not None
    with Store.open(settings) as store, Store.open(target) as copy:
        while True:
            was_over = is_over.is_set()
            late = import_postgres(copy, settings.dsn, "public.followed").set_aside
            trial.wrong += [f"import postgres: {row.aggregate_id} row {row.row}: {row.reason}" for row in late]
            trial.imports += 1
            if was_over:
                break
            time.sleep(0.2)
        heads = copy.conn.execute("SELECT aggregate_id, stream_version FROM refold.streams").fetchall()
        _compare(trial, "import postgres", Counter(dict(heads)), store)
        for stream in dict(heads):
            ordinals = [event.metadata["source_ordinal"] for event in copy.read_stream(stream)]
            if ordinals != [event.position for event in store.read_stream(stream)]:
                trial.wrong.append(f"import postgres: stream {stream} is in another order")


def _compare(trial: Trial, follower: str, last: Counter[UUID], store: Store) -> None:
    """Whether a follower ended where the streams did."""
    heads = dict(store.conn.execute("SELECT aggregate_id, stream_version FROM refold.streams").fetchall())
    if dict(last) != heads:
        trial.wrong.append(f"{follower}: ended at {dict(last)}, the streams at {heads}")


def main() -> None:
    """Run the long form; exit code 1 when something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--streams", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="refold-order-") as folder:
        home = Path(folder) / "home"
        with EmbeddedServer(home, is_durable=False) as server:
            opened = []
            for name in ("written", "imported"):
                with psycopg.connect(server.dsn, autocommit=True) as admin:
                    admin.execute(f"CREATE DATABASE {name}")
                with connect(server.dsn_of(name)) as conn:
                    store = Store(conn, server.dsn_of(name))
                    store.migrate()
                    store.ensure_months([AT])
                opened.append(replace(Settings(home, None, home / "lake"), dsn=server.dsn_of(name)))
            trial = run_trial(*opened, given.seconds, writers=given.writers, streams=given.streams, epochs=4)
    print(replace(trial, wrong=trial.wrong[:20]), f"{len(trial.wrong)} wrong")
    raise SystemExit(bool(trial.wrong))


if __name__ == "__main__":
    main()
