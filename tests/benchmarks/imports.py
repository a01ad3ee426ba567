"""`import`: spans of OpenTelemetry from a file to committed events, beside what must be done in any case, and the same again.

The file has recorded conversations in five dialects, again and again with fresh ids. What must be done in any case is to parse the
file with the standard library and to append the events that come of it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from pipelines.ingest.form_files import import_form
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otlp import FORM
from pipelines.store import NewEvent, Store, StreamBatch
from tests.benchmarks.databases import fresh_database, opened, running_server
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.rounds import ROOT, Bench, Measure
from tests.benchmarks.spans import write_spans

RATE = Target("at least", 15_000, of="figure")
CPU = Target("at most", 2.5)
AGAIN = Target("at least", 5.0)

_SHARED = ROOT.parent / "shared" / "data"
_RECORDED = datetime(2026, 11, 28, tzinfo=UTC)
_EVENTS = """
SELECT aggregate_id, aggregate_type, stream_version, event_type, payload, metadata, created_at
FROM refold.events ORDER BY aggregate_id, stream_version
"""


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `import`; none where the samples are not there."""
    if not _SHARED.is_dir():
        bench.tell(f"{_SHARED} is not there; nothing is measured")
        return
    path, home = bench.folder / "spans.jsonl", bench.folder / "home"
    spans = write_spans(_SHARED, path, bench.events)
    with running_server(home):
        given: dict[str, Any] = {"home": str(home), "path": str(path), "spans": spans}
        rounds = bench.interleave({"import": (import_spans, given), "least": (parse_and_append, given)})
    yield rounds.figure("import: spans to committed events", "spans/s", ("import", "rate"), target=RATE)
    yield rounds.figure(
        "import: CPU of the importing processes",
        "s",
        ("import", "cpu"),
        peer=("least", "cpu"),
        peer_name="json.loads of the file, append of the events",
        target=CPU,
    )
    yield rounds.figure(
        "import: the same again",
        "spans/s",
        ("import", "again"),
        peer=("import", "rate"),
        peer_name="the first time",
        target=AGAIN,
    )


def import_spans(home: str, path: str, spans: int) -> Measure:
    """Import the file into an empty store, and once more."""
    with fresh_database(home, [_RECORDED]) as dsn, opened(dsn) as store:
        began, used = time.perf_counter(), _cpu()
        _import(store, home, path)
        seconds, cpu = time.perf_counter() - began, _cpu() - used
        began = time.perf_counter()
        _import(store, home, path)
        return {"rate": spans / seconds, "cpu": cpu, "again": spans / (time.perf_counter() - began)}


def _cpu() -> float:
    """Seconds of this process, and of those that it started and that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _import(store: Store, home: str, path: str) -> None:
    import_form(store, FORM, [Path(path)], Options(), home=Path(home))


def parse_and_append(home: str, path: str, spans: int) -> Measure:
    """Parse every line, and append to an empty store what an import of the file made."""
    with fresh_database(home, [_RECORDED]) as dsn, opened(dsn) as store:
        _import(store, home, path)
        batches = list(_batches(store))
    with fresh_database(home, [_RECORDED]) as dsn, opened(dsn) as store:
        began, used = time.perf_counter(), _cpu()
        with Path(path).open("rb") as file:
            for line in file:
                json.loads(line)
        store.append_many(batches)
        return {"rate": spans / (time.perf_counter() - began), "cpu": _cpu() - used}


def _batches(store: Store) -> Iterator[StreamBatch]:
    """The events of a store, a batch a stream."""
    held: dict[UUID, tuple[str, list[NewEvent]]] = {}
    for aggregate_id, kind, _, event_type, payload, metadata, created_at in store.conn.execute(_EVENTS):
        held.setdefault(aggregate_id, (kind, []))[1].append(NewEvent(event_type, payload, metadata, created_at))
    for aggregate_id, (kind, events) in held.items():
        yield StreamBatch(aggregate_id, kind, events)
