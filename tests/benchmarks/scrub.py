"""What a scrub costs after one erasure: the month written anew and the log written over, beside reading the month out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

from pipelines.erasure.scrub import scrub as scrub_store
from pipelines.export.snapshot import month_bounds
from pipelines.proof.erasure import Erasure, Target
from pipelines.store import sign
from pipelines.store.erasures import erase_events, record_erasure
from tests.benchmarks.databases import create_database, opened, running_server
from tests.benchmarks.figures import Figure
from tests.benchmarks.log import MONTH, write_log
from tests.benchmarks.rounds import Bench, Measure
from tests.benchmarks.stored import fill_store

_TABLE = f"events_{MONTH.replace('-', '_')}"
_NEXT = "SELECT aggregate_id, stream_version FROM refold.streams WHERE aggregate_type = 'conversation' AND NOT is_erased LIMIT 1"


def run(bench: Bench) -> Iterator[Figure]:
    """What a scrub takes, and for how long the month is closed meanwhile."""
    path, home = bench.folder / "log.parquet", bench.folder / "home"
    write_log(path, bench.events)
    with running_server(home):
        bench.tell(f"a store of {bench.events:,} events")
        dsn = create_database(home, "scrubbed", [month_bounds(MONTH)[0]])
        events, _ = fill_store(dsn, path, bench.events)
        rounds = bench.interleave({"scrub": (scrub, {"dsn": dsn}), "copy": (copy, {"dsn": dsn})})
    beside = {"peer": ("copy", "seconds"), "peer_name": "COPY of the partition TO STDOUT"}
    yield rounds.figure(f"audit: scrub of a month of {events:,} events", "s", ("scrub", "seconds"), **beside)
    yield rounds.figure("audit: scrub, the month closed meanwhile", "s", ("scrub", "closed"), **beside)


def scrub(dsn: str) -> Measure:
    """Erase one conversation, and scrub."""
    with opened(dsn) as store:
        row = store.conn.execute(_NEXT).fetchone()
        assert row is not None
        target = Target(str(row[0]), 1, row[1], True)
        document = Erasure(str(uuid4()), "benchmark", (target,), "0", datetime.now(UTC).isoformat(), None)
        record_erasure(store.conn, sign(document.text(), None))
        assert sum(erase_events(store.conn)) == 1
        started = time.perf_counter()
        report = scrub_store(store)
        seconds = time.perf_counter() - started
    assert report.erasures == 1
    return {"seconds": seconds, "closed": next(each.seconds for each in report.relations if each.table == _TABLE)}


def copy(dsn: str) -> Measure:
    """Read the month's partition out as text."""
    with opened(dsn) as store:
        started = time.perf_counter()
        with store.conn.cursor().copy(f"COPY refold.{_TABLE} TO STDOUT") as rows:
            while rows.read():
                pass
        return {"seconds": time.perf_counter() - started}
